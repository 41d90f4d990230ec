//! The style sheet, the scripts and the icon, which are part of the program.

use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use xxhash_rust::xxh3::xxh3_64;

use crate::serve::http::problem::Problem;

/// A file that the page loads.
struct Asset {
    name: &'static str,
    kind: &'static str,
    body: &'static str,
    /// Tells this version of it from others.
    hash: String,
}

/// All of them.
static ASSETS: LazyLock<[Asset; 5]> = LazyLock::new(|| {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let asset = |name, kind, body: &'static str| Asset { name, kind, body, hash: format!("{:016x}", xxh3_64(body.as_bytes())) };
    [
        asset("style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
        asset("live.js", SCRIPT, include_str!("assets/live.js")),
        asset("morph.js", SCRIPT, include_str!("assets/morph.js")),
        asset("upload.js", SCRIPT, include_str!("assets/upload.js")),
        asset("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ]
});

/// The path of an asset, with its version: another version has another path, and so is never taken from a cache for it.
pub(super) fn path(name: &str) -> String {
    let hash = ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| &asset.hash);
    format!("/assets/{name}?v={hash}")
}

/// An asset. Only under the path with its version may it be kept unasked: gateways of two versions may serve one page.
pub(super) async fn get_asset(
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "no_such_page", "expected the name of an asset, found another");
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(missing)?;
    let tag = format!("\"{}\"", asset.hash);
    let is_versioned = query.and_then(|query| Some(query.strip_prefix("v=")? == asset.hash)).unwrap_or(false);
    let keep = if is_versioned { "public, max-age=31536000, immutable" } else { "no-cache" };
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.kind)], asset.body).into_response()
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    response.headers_mut().extend(HeaderValue::try_from(tag).ok().map(|tag| (header::ETAG, tag)));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_asset_is_kept_for_good_under_its_version_only() {
        let get = async |query: Option<&str>, known: Option<&str>| {
            let headers = known.map(|known| (header::IF_NONE_MATCH, HeaderValue::from_str(known).unwrap()));
            get_asset(Path("style.css".to_owned()), RawQuery(query.map(str::to_owned)), headers.into_iter().collect())
                .await
                .unwrap()
        };
        let kept = |response: &Response| response.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable");
        let version = path("style.css").split_once('?').unwrap().1.to_owned();
        assert!(kept(&get(Some(&version), None).await));
        assert!(!kept(&get(Some("v=0"), None).await) && !kept(&get(None, None).await));
        let tag = get(None, None).await.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(get(None, Some(&tag)).await.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(get(None, Some("\"0\"")).await.status(), StatusCode::OK);
    }
}
