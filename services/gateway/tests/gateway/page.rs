//! The page: served with the headers that keep it to itself, whichever page this build has.

use crate::support::{Answer, Door, ask};

fn guarded(answer: &Answer, media: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (200, media), "{answer:?}");
    assert!(answer.header("content-security-policy").starts_with("default-src 'self';"), "{answer:?}");
    assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_with_its_parts() {
    let door = Door::before(&[]).await;
    for path in ["/", "/reference"] {
        let page = door.get(path).await;
        guarded(&page, "text/html; charset=utf-8");
        assert!(matches!(page.header("cache-control"), "no-cache" | "no-store"));
        let parts: Vec<&str> = page
            .body
            .split(['"', '\''])
            .filter(|part| part.starts_with("/assets/") && !part.contains(['<', ' ']))
            .collect();
        assert!(!parts.is_empty(), "{}", page.body);
        for part in parts {
            let answer = door.get(part).await;
            assert_eq!(answer.status, 200, "{part}");
            let kept = answer.header("cache-control");
            assert_eq!(kept.contains("immutable"), part != "/assets/plain.css", "{part}: {kept}");
        }
        assert!(
            !page.body.contains("http://") || !page.body.contains("src=\"http"),
            "nothing from elsewhere"
        );
    }
    guarded(&door.get("/assets/plain.css").await, "text/css; charset=utf-8");
    for path in ["/nothing", "/assets/nothing.js", "/assets/../Cargo.toml", "/v1/nothing"] {
        assert_eq!(door.get(path).await.problem(), (404, "no_such_route".to_owned()), "{path}");
    }
    let wrong = ask(door.running.address, "POST", "/", &[], Some(Vec::new())).await;
    assert_eq!(wrong.problem(), (405, "method_not_allowed".to_owned()));
    door.running.stop().await;
}
