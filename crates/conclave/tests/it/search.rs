//! People search from the command line, in scripts without spaces, with signs and by zone.

use serde_json::json;

use crate::{
    command::Person,
    support::{Cluster, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_and_marks_what_is_typed_in_any_script() {
    let cluster = Cluster::start(1).await;
    let nodes = cluster.nodes().into_iter();
    let endpoints: Vec<String> = nodes.map(|node| cluster.endpoint(node)).collect();
    let alice = Person::named(&endpoints, "alice").await;
    for text in [
        "東京都に住んでいます",
        "party tonight 🎉",
        "Ο Σίσυφος, Straße",
    ] {
        alice.run(&["send", "alice", text]).await.succeeded();
    }
    let found = async |args: &[&str]| {
        let args = [&["search", "-o", "json", "--"], args].concat();
        alice.run(&args).await.json()
    };
    until("everything is searched", async || {
        (found(&["from:alice"]).await.len() == 3).then_some(())
    })
    .await;
    for (typed, count) in [
        ("東京", 1),
        ("京東", 0),
        ("🎉", 1),
        ("ΣΊΣΥΦΟΣ strasse", 1),
        ("from:alice -tonight", 2),
        ("is:unread", 0),
        ("after:2020-01-01", 3),
        ("before:2020-01-01", 0),
    ] {
        assert_eq!(found(&[typed]).await.len(), count, "{typed}");
    }
    // Each word is an argument of its own.
    assert_eq!(found(&["party", "-tonight"]).await.len(), 0);
    let tokyo = found(&["東京"]).await;
    let snippet = json!([
        { "text": "東京", "match": true },
        { "text": "都に住んでいます", "match": false },
    ]);
    assert_eq!(tokyo[0]["snippet"], snippet);
    // A pipe gets the text without marks.
    let line = alice.run(&["search", "party"]).await.succeeded();
    assert!(
        line.ends_with("party tonight 🎉\n") && !line.contains('\u{1b}'),
        "{line}"
    );
    alice.run(&["search", "\"x"]).await.failed(2, "not closed");
}
