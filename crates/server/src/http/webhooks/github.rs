//! Formats events of GitHub, and of servers that send the same events (Gitea, Forgejo).
//!
//! Always true: the first line of an event says who did what in which repository, and links to it;
//! an event that this version does not know is named. Names of people have no `@` before them: a
//! login on another site is not an account here.

use serde_json::Value;

use super::{
    Rendered,
    text::{at, excerpt, first_of, join, line, link, list_at, text_at, url, word_at},
};

/// Maximum number of commits of one push that are shown. More are counted.
const COMMITS_SHOWN: usize = 10;
/// Maximum number of pages of a wiki that are shown.
const PAGES_SHOWN: usize = 10;
/// Maximum number of characters of a title, a name or a first line.
const TITLE_CHARACTERS: usize = 200;
/// Maximum number of characters of a person's text.
const BODY_CHARACTERS: usize = 1000;
/// Number of characters that name a commit.
const COMMIT_CHARACTERS: usize = 7;

/// Returns the message for an event.
pub(super) fn rendered(event: &str, body: &Value) -> Rendered {
    let action = line(text_at(body, "action"), TITLE_CHARACTERS).replace('_', " ");
    let event = Event {
        name: line(event, TITLE_CHARACTERS),
        action,
        body,
    };
    if let Some(why) = event.is_no_news() {
        return Rendered::Nothing(why);
    }
    let (did, more) = event.sentence();
    let place = [
        "repository.full_name",
        "organization.login",
        "enterprise.slug",
    ];
    let place = line(first_of(body, &place), TITLE_CHARACTERS);
    let place = match place.is_empty() {
        true => String::new(),
        false => format!("[{place}]"),
    };
    let who = line(
        first_of(body, &["sender.login", "pusher.name"]),
        TITLE_CHARACTERS,
    );
    let first = join(&[place, who, did], " ");
    Rendered::Message(join(&[first, more], "\n"))
}

struct Event<'a> {
    name: String,
    action: String,
    body: &'a Value,
}

impl Event<'_> {
    /// Returns why an event makes no message, if so.
    fn is_no_news(&self) -> Option<&'static str> {
        match self.name.as_str() {
            "ping" => Some("the webhook works; a ping is not posted"),
            "workflow_run" | "workflow_job" | "check_run" | "check_suite"
                if self.action != "completed" =>
            {
                Some("a check that has not ended is not posted")
            }
            "status" if self.text("state") == "pending" => {
                Some("a status that is pending is not posted")
            }
            _ => None,
        }
    }

    fn text(&self, path: &str) -> String {
        line(text_at(self.body, path), TITLE_CHARACTERS)
    }

    fn address(&self, path: &str) -> &str {
        url(text_at(self.body, path))
    }

    fn written(&self, path: &str) -> String {
        excerpt(&without_comments(text_at(self.body, path)), BODY_CHARACTERS)
    }

    /// Returns `#7 Title (https://…)` of a numbered item.
    fn numbered(&self, what: &str) -> String {
        let number = word_at(self.body, &format!("{what}.number"));
        let title = self.text(&format!("{what}.title"));
        let address = self.address(&format!("{what}.html_url"));
        link(&join(&[format!("#{number}"), title], " "), address)
    }

    /// Returns what was done, and the text below it.
    fn sentence(&self) -> (String, String) {
        let action = self.action.as_str();
        let none = String::new;
        match self.name.as_str() {
            "push" => self.push(),
            "create" | "delete" => {
                let what = join(&[self.text("ref_type"), self.text("ref")], " ");
                let did = format!("{}d {what}", self.name);
                (link(&did, self.address("repository.html_url")), none())
            }
            "issues" => self.change("issue", "issue"),
            "pull_request" => self.change("pull request", "pull_request"),
            "discussion" => self.change("discussion", "discussion"),
            "issue_comment" => {
                let is_request = !at(self.body, "issue.pull_request").is_null();
                let kind = if is_request { "pull request" } else { "issue" };
                self.comment(kind, "issue")
            }
            "pull_request_review_comment" => self.comment("pull request", "pull_request"),
            "discussion_comment" => self.comment("discussion", "discussion"),
            "commit_comment" => {
                let commit = short(text_at(self.body, "comment.commit_id"));
                let did = format!("commented on commit {commit}");
                let address = self.address("comment.html_url");
                (link(&did, address), self.written("comment.body"))
            }
            "pull_request_review" => self.review(),
            "release" => {
                let release = first_of(self.body, &["release.name", "release.tag_name"]);
                let release = line(release, TITLE_CHARACTERS);
                let did = format!("{action} release {release}");
                let address = self.address("release.html_url");
                (link(&did, address), self.written("release.body"))
            }
            "fork" => {
                let fork = self.text("forkee.full_name");
                let address = self.address("forkee.html_url");
                (format!("forked it as {}", link(&fork, address)), none())
            }
            "star" | "watch" => {
                let did = if action == "deleted" {
                    "took a star away"
                } else {
                    "gave a star"
                };
                (link(did, self.address("repository.html_url")), none())
            }
            "public" => (
                link("made it public", self.address("repository.html_url")),
                none(),
            ),
            "member" => {
                let member = self.text("member.login");
                (format!("{action} {member} as collaborator"), none())
            }
            "gollum" => self.wiki(),
            "status" => {
                let commit = short(text_at(self.body, "sha"));
                let (context, state) = (self.text("context"), self.text("state"));
                let did = format!("{context} of {commit}: {state}");
                let did = link(&did, self.address("target_url"));
                (did, self.text("description"))
            }
            "workflow_run" | "workflow_job" | "check_run" | "check_suite" => self.check(),
            "deployment" | "deployment_status" => self.deployment(),
            name if name.ends_with("_alert") => self.alert(),
            _ => self.any(),
        }
    }

    /// Tells a review of a pull request.
    fn review(&self) -> (String, String) {
        let did = match (self.action.as_str(), text_at(self.body, "review.state")) {
            ("dismissed", _) => "dismissed a review of",
            ("edited", _) => "edited a review of",
            (_, "approved") => "approved",
            (_, "changes_requested") => "asked for changes of",
            _ => "reviewed",
        };
        let did = format!("{did} pull request {}", self.numbered("pull_request"));
        let review = self.address("review.html_url").to_owned();
        (did, join(&[self.written("review.body"), review], "\n"))
    }

    /// Tells which pages of the wiki have changed.
    fn wiki(&self) -> (String, String) {
        let pages = list_at(self.body, "pages").iter().take(PAGES_SHOWN);
        let pages = pages.map(|page| {
            let title = line(text_at(page, "title"), TITLE_CHARACTERS);
            let action = line(text_at(page, "action"), TITLE_CHARACTERS);
            link(&format!("- {action} {title}"), text_at(page, "html_url"))
        });
        (
            "changed the wiki".to_owned(),
            join(&pages.collect::<Vec<_>>(), "\n"),
        )
    }

    /// Tells how far a deployment is.
    fn deployment(&self) -> (String, String) {
        let environment = first_of(
            self.body,
            &["deployment.environment", "deployment_status.environment"],
        );
        let environment = line(environment, TITLE_CHARACTERS);
        let state = self.text("deployment_status.state");
        let state = if state.is_empty() {
            "begun".to_owned()
        } else {
            state
        };
        let address = first_of(
            self.body,
            &[
                "deployment_status.environment_url",
                "deployment_status.target_url",
                "workflow_run.html_url",
                "repository.html_url",
            ],
        );
        let did = format!("deployment to {environment}: {state}");
        (
            link(&did, address),
            self.written("deployment_status.description"),
        )
    }

    /// Tells an alert of security.
    fn alert(&self) -> (String, String) {
        let what = [
            "alert.security_advisory.summary",
            "alert.rule.description",
            "alert.secret_type_display_name",
            "alert.secret_type",
            "alert.affected_package_name",
        ];
        let what = line(first_of(self.body, &what), TITLE_CHARACTERS);
        let did = format!("{} {}", self.action, self.name.replace('_', " "));
        let address = self.address("alert.html_url");
        (link(&join(&[did, what], ": "), address), String::new())
    }

    fn push(&self) -> (String, String) {
        let name = text_at(self.body, "ref");
        let (kind, name) = match name.strip_prefix("refs/tags/") {
            Some(tag) => ("tag", tag),
            None => ("branch", name.strip_prefix("refs/heads/").unwrap_or(name)),
        };
        let name = line(name, TITLE_CHARACTERS);
        let is = |path| at(self.body, path).as_bool().unwrap_or(false);
        let commits = list_at(self.body, "commits");
        let address = self.address("compare");
        let did = if is("deleted") {
            format!("deleted {kind} {name}")
        } else if commits.is_empty() && is("created") {
            link(&format!("created {kind} {name}"), address)
        } else {
            let forced = if is("forced") {
                "force-pushed"
            } else {
                "pushed"
            };
            let count = match commits.len() {
                1 => "1 commit".to_owned(),
                count => format!("{count} commits"),
            };
            link(&format!("{forced} {count} to {name}"), address)
        };
        let shown = commits.iter().take(COMMITS_SHOWN).map(|commit| {
            let message = text_at(commit, "message")
                .lines()
                .next()
                .unwrap_or_default();
            let by = line(
                first_of(commit, &["author.username", "author.name"]),
                TITLE_CHARACTERS,
            );
            let by = if by.is_empty() {
                by
            } else {
                format!(" ({by})")
            };
            let message = line(message, TITLE_CHARACTERS);
            format!("- {} {message}{by}", short(text_at(commit, "id")))
        });
        let mut lines: Vec<String> = shown.collect();
        if commits.len() > COMMITS_SHOWN {
            lines.push(format!("… and {} more", commits.len() - COMMITS_SHOWN));
        }
        (did, join(&lines, "\n"))
    }

    /// Returns the text for a change of an issue, a pull request or a discussion.
    fn change(&self, kind: &str, field: &str) -> (String, String) {
        let is_merged = at(self.body, "pull_request.merged").as_bool() == Some(true);
        let did = match self.action.as_str() {
            "closed" if is_merged => "merged",
            "synchronize" => "pushed to",
            "opened" | "created" => "opened",
            other => other,
        };
        let object = [
            "label.name",
            "assignee.login",
            "requested_reviewer.login",
            "requested_team.name",
            "milestone.title",
        ];
        let object = match self.action.as_str() {
            "labeled"
            | "unlabeled"
            | "assigned"
            | "unassigned"
            | "review requested"
            | "review request removed"
            | "milestoned"
            | "demilestoned" => line(first_of(self.body, &object), TITLE_CHARACTERS),
            _ => String::new(),
        };
        let object = if object.is_empty() {
            object
        } else {
            format!("({object})")
        };
        let parts = [
            did.to_owned(),
            object,
            kind.to_owned(),
            self.numbered(field),
        ];
        let more = match did {
            "opened" => self.written(&format!("{field}.body")),
            _ => String::new(),
        };
        (join(&parts, " "), more)
    }

    fn comment(&self, kind: &str, field: &str) -> (String, String) {
        let did = match self.action.as_str() {
            "deleted" => "deleted a comment on",
            "edited" => "edited a comment on",
            _ => "commented on",
        };
        let did = format!("{did} {kind} {}", self.numbered(field));
        let written = match self.action.as_str() {
            "deleted" => String::new(),
            _ => self.written("comment.body"),
        };
        let address = self.address("comment.html_url").to_owned();
        (did, join(&[written, address], "\n"))
    }

    /// Returns the text for the end of a check.
    fn check(&self) -> (String, String) {
        let of = |field: &str| format!("{}.{field}", self.name);
        let names = [of("name"), of("app.name")];
        let name = first_of(self.body, &[&names[0], &names[1]]);
        let branches = [of("head_branch"), of("check_suite.head_branch")];
        let branch = first_of(self.body, &[&branches[0], &branches[1]]);
        let number = word_at(self.body, &of("run_number"));
        let number = if number.is_empty() {
            number
        } else {
            format!("#{number}")
        };
        let branch = match line(branch, TITLE_CHARACTERS) {
            branch if branch.is_empty() => branch,
            branch => format!("on {branch}"),
        };
        let what = self.name.replace('_', " ");
        let conclusion = self.text(&of("conclusion")).replace('_', " ");
        let name = line(name, TITLE_CHARACTERS);
        let did = join(&[what, name, number, branch], " ");
        let did = join(&[did, conclusion], ": ");
        let addresses = [
            of("html_url"),
            of("details_url"),
            "repository.html_url".to_owned(),
        ];
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        (
            link(&did, first_of(self.body, &addresses)),
            self.text(&of("output.title")),
        )
    }

    /// Returns the text for an event that only its name describes.
    fn any(&self) -> (String, String) {
        let event = self.name.replace('_', " ");
        let of = |field: &str| format!("{}.{field}", self.name);
        let names = [of("title"), of("name"), of("login"), of("slug")];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let name = line(first_of(self.body, &names), TITLE_CHARACTERS);
        let own = of("html_url");
        let address = first_of(
            self.body,
            &[&own, "repository.html_url", "organization.url"],
        );
        let did = join(&[self.action.clone(), event, name], " ");
        (link(&did, address), String::new())
    }
}

/// Leaves out what GitHub does not show either: hints of a template, in `<!-- … -->`.
fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let first = parts.next().unwrap_or_default();
    let shown = parts.map(|part| part.split_once("-->").map_or("", |(_, shown)| shown));
    std::iter::once(first).chain(shown).collect()
}

fn short(commit: &str) -> String {
    commit
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(COMMIT_CHARACTERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(event: &str, body: &Value) -> String {
        match rendered(event, body) {
            Rendered::Message(text) => text,
            Rendered::Nothing(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_push_lists_its_commits_with_a_link() {
        let commit = |number: u32| {
            json!({"id": format!("{number:040x}"), "message": format!("Fix {number}\n\nbecause"),
                   "author": {"name": "Anna A.", "username": "anna"}})
        };
        let mut body = json!({
            "ref": "refs/heads/main", "compare": "https://git.example/o/r/compare/a...b",
            "commits": [commit(1), commit(2)], "repository": {"full_name": "o/r"},
            "sender": {"login": "anna"}});
        let expected = "[o/r] anna pushed 2 commits to main \
            (https://git.example/o/r/compare/a...b)\n- 0000000 Fix 1 (anna)\n\
            - 0000000 Fix 2 (anna)";
        assert_eq!(message("push", &body), expected);
        body["commits"] = (0..25).map(commit).collect();
        body["forced"] = true.into();
        let text = message("push", &body);
        assert!(
            text.starts_with("[o/r] anna force-pushed 25 commits to main"),
            "{text}"
        );
        assert!(text.ends_with("… and 15 more"), "{text}");
        body["deleted"] = true.into();
        body["commits"] = json!([]);
        assert_eq!(message("push", &body), "[o/r] anna deleted branch main");
    }

    #[test]
    fn pings_and_pending_checks_are_not_posted() {
        let quiet =
            |event: &str, body: Value| matches!(rendered(event, &body), Rendered::Nothing(_));
        assert!(quiet(
            "ping",
            json!({"zen": "Design for failure.", "hook_id": 1})
        ));
        assert!(quiet("workflow_run", json!({"action": "requested"})));
        assert!(quiet("check_run", json!({"action": "created"})));
        assert!(quiet("status", json!({"state": "pending"})));
        assert!(!quiet("status", json!({"state": "success"})));
        assert!(!quiet("workflow_run", json!({"action": "completed"})));
    }

    #[test]
    fn an_unknown_event_is_shown_by_its_name() {
        let body = json!({"action": "in_progress", "sender": {"login": "anna"},
            "repository": {"full_name": "o/r", "html_url": "https://git.example/o/r"},
            "new_thing": {"title": "Shiny"}});
        let expected = "[o/r] anna in progress new thing Shiny (https://git.example/o/r)";
        assert_eq!(message("new_thing", &body), expected);
        assert_eq!(message("new_thing", &json!({})), "new thing");
    }
}
