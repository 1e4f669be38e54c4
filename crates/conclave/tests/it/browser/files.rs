//! The page that a node serves by itself, as a browser loads it.

use super::page::{Page, Response};
use crate::support::Cluster;

async fn get(page: &Page, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut page = page.clone();
    page.origin = None;
    page.more = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    page.ask("GET", path, "", b"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_its_page_with_everything_that_belongs_to_it() {
    let cluster = Cluster::start(1).await;
    let page = Page::of(&cluster.endpoint(1));
    let document = get(&page, "/", &[]).await;
    assert_eq!(document.status, 200, "{document:?}");
    assert_eq!(document.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(document.header("cache-control"), "no-cache");
    let policy = document.header("content-security-policy");
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let config = get(&page, "/page/config.json", &[]).await.json();
    assert_ne!(config["page"], "");

    // Every place of the page is its document, and a browser that has it gets no bytes.
    for place in ["/c/7", "/settings", "/cluster", "/join"] {
        assert_eq!(get(&page, place, &[]).await.body, document.body, "{place}");
    }
    let tag = document.header("etag").to_owned();
    let again = get(&page, "/", &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));

    // The document loads nothing but files of this node, each packed if the browser takes that.
    let html = String::from_utf8(document.body).unwrap();
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "{html}"
    );
    let named = |attribute: &str| {
        let parts = html.split(attribute).skip(1);
        let values = parts.filter_map(|part| part.split('"').next());
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let files: Vec<String> = [named("src=\""), named("href=\"")].concat();
    assert!(
        files.iter().any(|file| file.starts_with("/assets/")),
        "{html}"
    );
    for file in files {
        let plain = get(&page, &file, &[]).await;
        assert_eq!(plain.status, 200, "{file}");
        let for_ever = plain.header("cache-control").contains("immutable");
        assert_eq!(for_ever, file.starts_with("/assets/"), "{file}");
        let packed = get(&page, &file, &[("accept-encoding", "gzip, br")]).await;
        assert!(packed.body.len() <= plain.body.len(), "{file}");
        if file.ends_with(".js") || file.ends_with(".css") {
            assert_eq!(packed.header("content-encoding"), "br", "{file}");
        }
    }
    for nowhere in ["/healthz", "/index.html", "/assets/none.js", "/c"] {
        assert_eq!(get(&page, nowhere, &[]).await.status, 404, "{nowhere}");
    }
    let posted = page.ask("POST", "/", "text/plain", b"x").await;
    assert_eq!(
        (posted.status, posted.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
}
