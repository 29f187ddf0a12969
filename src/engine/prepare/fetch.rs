//! Downloads: cached by address and digest, resumed where the server really resumes, never trusted unchecked.
//!
//! A server may ignore `Range` and send the whole file with 200 (measured with Python's `http.server`): bytes are
//! appended only on 206 with exactly the range that was asked for and the same ETag or Last-Modified.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{OnProgress, PrepareError, Progress, blocking, hash, hex};

/// How often a broken download is taken up again within one run.
const TRIES: u32 = 4;

/// The largest download, in bytes: an ISO has one GB at most, a server that never ends must not fill the disk.
const MAX_DOWNLOAD: u64 = 16 << 30;

/// Downloads into one cache. The HTTP client is made at the first download only: on a bare system without CA
/// certificates making it fails, also for plain http.
pub struct Fetcher<'a> {
    cache: &'a Path,
    client: Option<Client>,
}

/// What is known of a (partial) file, beside it in the cache.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Meta {
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
    length: Option<u64>,
}

impl Meta {
    fn of(url: &str, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|v: &header::HeaderValue| v.to_str().ok()).map(str::to_owned);
        Self { url: url.into(), etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED), length: None }
    }

    /// What a resumption can be tied to: a strong ETag or a date.
    fn validator(&self) -> Option<&str> {
        self.etag.as_deref().filter(|e| !e.starts_with("W/")).or(self.last_modified.as_deref())
    }

    fn same(&self, other: &Self) -> bool {
        self.etag == other.etag && self.last_modified == other.last_modified
    }
}

struct Slot {
    file: PathBuf,
    part: PathBuf,
    meta: PathBuf,
    part_meta: PathBuf,
}

impl<'a> Fetcher<'a> {
    /// For this cache folder; nothing is made yet.
    pub fn new(cache: &'a Path) -> Self {
        Self { cache, client: None }
    }

    /// The file behind an address, from the cache when it is still the right one.
    pub async fn get(
        &mut self,
        url: &str,
        sha256: Option<&str>,
        progress: OnProgress<'_>,
    ) -> Result<PathBuf, PrepareError> {
        let key = hex(&Sha256::digest(format!("{url}\n{}", sha256.unwrap_or("").to_ascii_lowercase())));
        let folder = self.cache.join(&key[..24]);
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| PrepareError::Cache { path, source }
        };
        // Its owner's alone: an address may hold a token.
        tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).await.map_err(fail(&folder))?;
        let _lock = lock(folder.join("lock"), url, progress).await?;
        let name = file_name(url);
        let slot = Slot {
            part: folder.join(format!("{name}.part")),
            meta: folder.join("meta.json"),
            part_meta: folder.join("part.json"),
            file: folder.join(name),
        };
        let cached = tokio::fs::try_exists(&slot.file).await.unwrap_or(false);
        if cached && let Some(want) = sha256 {
            if digest(&slot.file).await?.eq_ignore_ascii_case(want) {
                return Ok(slot.file);
            }
            tokio::fs::remove_file(&slot.file).await.map_err(fail(&slot.file))?;
        }
        let known = if cached && sha256.is_none() { read_meta(&slot.meta).await } else { None };
        let client = self.client(url)?;
        let (mut problem, shown) = (String::new(), shown_url(url));
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
            }
            match transfer(&client, url, known.as_ref(), &slot, progress).await {
                Ok(true) => return Ok(slot.file),
                Ok(false) => {
                    let got = digest(&slot.part).await?;
                    if let Some(want) = sha256
                        && !want.eq_ignore_ascii_case(&got)
                    {
                        let _ = tokio::fs::remove_file(&slot.part).await;
                        let _ = tokio::fs::remove_file(&slot.part_meta).await;
                        return Err(PrepareError::WrongHash { url: shown, want: want.into(), got });
                    }
                    tokio::fs::rename(&slot.part, &slot.file).await.map_err(fail(&slot.file))?;
                    let _ = tokio::fs::rename(&slot.part_meta, &slot.meta).await;
                    return Ok(slot.file);
                }
                Err(Trouble::Fatal(e)) => return Err(e),
                Err(Trouble::Again(e)) => problem = e,
            }
        }
        if known.is_some() {
            progress(Progress::Note(format!("{shown}: {problem}; the copy of an earlier run is used, unchecked")));
            return Ok(slot.file);
        }
        let kept = size_of(&slot.part).await;
        Err(PrepareError::Download { url: shown, tries: TRIES, problem, kept })
    }

    fn client(&mut self, url: &str) -> Result<Client, PrepareError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        // A second installation is refused and harmless: the first provider stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            Client::builder()
                .user_agent(concat!("esxprep/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(Duration::from_secs(20))
                .read_timeout(Duration::from_secs(60))
        };
        let client = match builder().build() {
            Ok(client) => client,
            // No CA certificates on this machine: plain http does not need any.
            Err(_) if url.starts_with("http://") => {
                builder().tls_certs_only([]).build().map_err(|e| PrepareError::Client(chain(&e.without_url())))?
            }
            Err(e) => return Err(PrepareError::Client(chain(&e.without_url()))),
        };
        if url.starts_with("https://") {
            self.client = Some(client.clone());
        }
        Ok(client)
    }
}

enum Trouble {
    Fatal(PrepareError),
    Again(String),
}

/// One try. `true`: the cached file is still right; `false`: the partial file is complete.
async fn transfer(
    client: &Client,
    url: &str,
    known: Option<&Meta>,
    slot: &Slot,
    progress: OnProgress<'_>,
) -> Result<bool, Trouble> {
    let cache = |source| Trouble::Fatal(PrepareError::Cache { path: slot.part.clone(), source });
    let mut have = size_of(&slot.part).await;
    let part = read_meta(&slot.part_meta).await.filter(|m| m.url == url);
    let resumable = part.as_ref().and_then(|m| m.validator()).is_some() && have > 0;
    let mut request = client.get(url);
    if resumable && let Some(validator) = part.as_ref().and_then(|m| m.validator()) {
        request = request.header(header::RANGE, format!("bytes={have}-")).header(header::IF_RANGE, validator);
    } else {
        have = 0;
        if let Some(meta) = known {
            if let Some(etag) = &meta.etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            }
            if let Some(date) = &meta.last_modified {
                request = request.header(header::IF_MODIFIED_SINCE, date);
            }
        }
    }
    let mut response = request.send().await.map_err(|e| Trouble::Again(chain(&e.without_url())))?;
    match response.status() {
        StatusCode::NOT_MODIFIED if known.is_some() => return Ok(true),
        StatusCode::PARTIAL_CONTENT => {
            let now = Meta::of(url, response.headers());
            let fits = content_range(response.headers()).is_some_and(|(start, total)| {
                start == have
                    && part.as_ref().is_some_and(|p| p.same(&now) && (p.length.is_none() || p.length == total))
            });
            if !fits {
                forget(slot).await;
                return Err(Trouble::Again("the server resumed with another range or another file".into()));
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            // Complete already, or changed: only starting again tells.
            forget(slot).await;
            return Err(Trouble::Again("the server refused to resume (416)".into()));
        }
        status if status.is_success() => {
            have = 0;
        }
        status => {
            let temporary = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
            let error = status_error(url, response).await;
            return Err(if temporary { Trouble::Again(error.to_string()) } else { Trouble::Fatal(error) });
        }
    }
    let length = response.content_length().map(|l| l + have);
    if have == 0 {
        let meta = Meta { length, ..Meta::of(url, response.headers()) };
        let text = serde_json::to_vec(&meta).map_err(|e| cache(std::io::Error::other(e)))?;
        tokio::fs::write(&slot.part_meta, text).await.map_err(cache)?;
    }
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(have == 0)
        .append(have > 0)
        .open(&slot.part)
        .await
        .map_err(cache)?;
    progress(Progress::Download { url: shown_url(url), position: have, length });
    let ended = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => {
                file.write_all(&bytes).await.map_err(cache)?;
                have += bytes.len() as u64;
                if have > MAX_DOWNLOAD {
                    drop(file);
                    forget(slot).await;
                    let problem =
                        format!("it sent more than the {} GiB that any download may have", MAX_DOWNLOAD >> 30);
                    return Err(Trouble::Fatal(PrepareError::Download {
                        url: shown_url(url),
                        tries: 1,
                        problem,
                        kept: 0,
                    }));
                }
                progress(Progress::Download { url: shown_url(url), position: have, length });
            }
            Ok(None) => break Ok(()),
            Err(e) => break Err(chain(&e.without_url())),
        }
    };
    file.flush().await.map_err(cache)?;
    file.sync_all().await.map_err(cache)?;
    match (ended, length) {
        (Err(e), _) => Err(Trouble::Again(format!("the connection broke after {have} bytes: {e}"))),
        (Ok(()), Some(l)) if l != have => Err(Trouble::Again(format!("{have} of {l} bytes came"))),
        _ => Ok(false),
    }
}

async fn forget(slot: &Slot) {
    let _ = tokio::fs::remove_file(&slot.part).await;
    let _ = tokio::fs::remove_file(&slot.part_meta).await;
}

async fn status_error(url: &str, mut response: Response) -> PrepareError {
    let status = response.status().as_u16();
    let text = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|t| t.starts_with("text/plain") || t.contains("json"));
    let mut said = String::new();
    if text && let Ok(Some(bytes)) = response.chunk().await {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        said = String::from_utf8_lossy(&bytes).chars().take(200).map(clean).collect::<String>().trim().to_owned();
    }
    PrepareError::Status { url: shown_url(url), status, said }
}

/// First byte and total of `Content-Range: bytes 5-9/10`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, total.trim().parse().ok()))
}

/// An error with its causes: reqwest's own text says only that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        let more = e.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = e.source();
    }
    text
}

async fn read_meta(path: &Path) -> Option<Meta> {
    serde_json::from_slice(&tokio::fs::read(path).await.ok()?).ok()
}

async fn size_of(path: &Path) -> u64 {
    tokio::fs::metadata(path).await.map_or(0, |m| m.len())
}

async fn digest(path: &Path) -> Result<String, PrepareError> {
    let path = path.to_owned();
    blocking(move || {
        let hashed = std::fs::File::open(&path).and_then(|mut f| hash(&mut f));
        hashed.map(|(sha, _)| sha).map_err(|source| PrepareError::Cache { path, source })
    })
    .await?
}

/// Holds the slot against another run of esxprep; released when dropped.
async fn lock(path: PathBuf, url: &str, progress: OnProgress<'_>) -> Result<std::fs::File, PrepareError> {
    let fail = |path: &Path, source| PrepareError::Cache { path: path.to_owned(), source };
    let file =
        std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|e| fail(&path, e))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            progress(Progress::Note(format!("{}: another run is downloading it: waiting", shown_url(url))));
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(fail(&path, e)),
    }
    blocking(move || file.lock().map(|()| file).map_err(|e| PrepareError::Cache { path, source: e })).await?
}

/// An address for people: a password or a token in it (before `@`, after `?`) is left out.
pub(super) fn shown_url(url: &str) -> String {
    let (plain, query) = url.split_once(['?', '#']).map_or((url, ""), |(p, _)| (p, "?..."));
    let Some((scheme, rest)) = plain.split_once("://") else { return format!("{plain}{query}") };
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(h, p)| (h, p));
    let host = host.rsplit_once('@').map_or(host, |(_, h)| h);
    let slash = if rest.contains('/') { "/" } else { "" };
    format!("{scheme}://{host}{slash}{path}{query}")
}

/// A plain file name out of an address: the last part of its path, without query.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or("");
    let last = path.rsplit('/').next().unwrap_or("");
    let clean: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || "._-+".contains(c) { c } else { '_' }).take(120).collect();
    if clean.trim_matches('.').is_empty() || ["lock", "meta.json", "part.json"].contains(&clean.as_str()) {
        format!("download-{clean}")
    } else {
        clean
    }
}
