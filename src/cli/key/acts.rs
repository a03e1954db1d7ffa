//! The actions of the commands.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::cli::key::store::{self, Missing};
use crate::cli::key::{
    Create, Entry, Expiry, Failure, FillRandom, Find, Import, One, Rotate, Session, output,
};
use crate::config::key_file::SpannedKey;
use crate::config::key_file::edit::Edit;
use crate::config::language::suggest::suggest;
use crate::decide::api_key::digest::{BARE_KEY_BYTES_MIN, KEY_BYTES_MAX};
use crate::decide::api_key::format::{self, Form, SecretKind};
use crate::decide::api_key::{Digest, KeyEntry, KeyState};
use crate::decide::principal::Claims;
use crate::decide::scope::ScopeSet;

/// Letters and digits of an id we make up: none that are taken for another.
const ID_ALPHABET: &[u8] = b"23456789abcdefghjkmnpqrstuvwxyz";

/// 31^12 is more than 2^59.
const ID_RANDOM_CHARS: usize = 12;

/// Attempts at a random id that is not in use.
const ID_TRIES_MAX: usize = 8;

/// The longest pepper we read, in bytes.
const PEPPER_BYTES_MAX: usize = 4096;

pub(super) fn create(session: &mut Session<'_, '_>, arguments: &Create) -> Result<(), Failure> {
    let path = arguments.place.path();
    let key = format::generate(SecretKind::ApiKey, session.fill_random)?;
    let digest = Digest::sha256(key.expose());
    let now = session.now;
    let fill = &mut *session.fill_random;
    let entry = store::update(path, Missing::Create, |keys| {
        let entry = new_entry(keys, &arguments.entry, Some(&arguments.name), digest, now, fill)?;
        Ok((vec![Edit::Add(Box::new(entry.clone()))], entry))
    })?;
    show_key(session, &key, &entry, path)
}

/// The digest to store for the key on standard input, and all digests that it may be stored under.
fn digests_of_key(
    session: &mut Session<'_, '_>,
    arguments: &Import,
) -> Result<(Digest, Vec<Digest>), Failure> {
    let key = read_key(session.stdin)?;
    let key = key.expose().as_str();
    check_importable(key)?;
    let digest = match (&arguments.pepper, &arguments.pepper_file) {
        (Some(name), Some(file)) => Digest::hmac_sha256(key, name, read_pepper(file)?.expose()),
        (None, _) | (_, None) if key.len() < BARE_KEY_BYTES_MIN => return Err(too_short(key)),
        (None, _) | (_, None) => Digest::sha256(key),
    };
    Ok((digest.clone(), vec![digest, Digest::sha256(key), Digest::sha512(key)]))
}

pub(super) fn import(session: &mut Session<'_, '_>, arguments: &Import) -> Result<(), Failure> {
    let path = arguments.place.path();
    let (digest, same) = match &arguments.digest {
        Some(digest) => (digest.clone(), vec![digest.clone()]),
        None => digests_of_key(session, arguments)?,
    };
    let now = session.now;
    let fill = &mut *session.fill_random;
    let name = arguments.name.as_deref();
    let entry = store::update(path, Missing::Create, |keys| {
        if let Some(there) = keys.iter().find(|key| same.contains(&key.entry.digest)) {
            let (id, path) = (&there.entry.id, path.display());
            return Err(Failure::No(format!("{path}: this key is there already, as {id:?}")));
        }
        let entry = new_entry(keys, &arguments.entry, name, digest, now, fill)?;
        Ok((vec![Edit::Add(Box::new(entry.clone()))], entry))
    })?;
    session.say(&format!("{}: {}", path.display(), output::describe(&entry)));
    session.answer(&format!("{}\n", entry.id))
}

pub(super) fn find(session: &mut Session<'_, '_>, arguments: &Find) -> Result<(), Failure> {
    let path = arguments.place.path();
    let key = read_key(session.stdin)?;
    let key = key.expose().as_str();
    let keys = store::read(path)?;
    if let Form::Bad(kind) = format::check(key) {
        let prefix = kind.prefix();
        return Err(Failure::No(format!(
            "this begins with {prefix}, but has a checksum mismatch: it is truncated or mistyped"
        )));
    }
    let mut digests = Vec::new();
    // As when a key is presented: a short one never matches its bare digest.
    if key.len() >= BARE_KEY_BYTES_MIN {
        digests.extend([Digest::sha256(key), Digest::sha512(key)]);
    }
    for (name, file) in &arguments.peppers {
        digests.push(Digest::hmac_sha256(key, name, read_pepper(file)?.expose()));
    }
    match keys.iter().find(|key| digests.contains(&key.entry.digest)) {
        Some(found) => output::found(session, path, found, arguments.json),
        None => Err(not_found(path, &keys, arguments)),
    }
}

pub(super) fn rotate(session: &mut Session<'_, '_>, arguments: &Rotate) -> Result<(), Failure> {
    let path = arguments.place.path();
    let key = format::generate(SecretKind::ApiKey, session.fill_random)?;
    let now = session.now;
    let fill = &mut *session.fill_random;
    let (old, entry, end) = store::update(path, Missing::Refuse, |keys| {
        let (index, old) = find_id(path, keys, &arguments.id)?;
        check_rotatable(old, now)?;
        let expires = match arguments.expires {
            Some(expires) => instant(expires, now)?,
            None => old.expires,
        };
        let entry = KeyEntry {
            id: new_id(keys, arguments.new_id.as_deref(), fill)?,
            digest: Digest::sha256(key.expose()),
            not_before: None,
            expires,
            enabled: true,
            replaces: Some(old.id.as_ref().into()),
            ..old.clone()
        };
        let grace = now.plus(arguments.grace);
        let end = old.expires.map_or(grace, |end| end.min(grace));
        let mut edits = vec![Edit::SetExpires(index, end), Edit::Add(Box::new(entry.clone()))];
        if old.expires == Some(end) {
            edits.remove(0);
        }
        Ok((edits, (old.id.clone(), entry, end)))
    })?;
    session.say(&format!("{}: {old:?} expires {end}", path.display()));
    show_key(session, &key, &entry, path)
}

pub(super) fn enable(
    session: &mut Session<'_, '_>,
    arguments: &One,
    enabled: bool,
) -> Result<(), Failure> {
    let path = arguments.place.path();
    let word = if enabled { "enabled" } else { "disabled" };
    let changed = store::update(path, Missing::Refuse, |keys| {
        let (index, entry) = find_id(path, keys, &arguments.id)?;
        let changes = entry.enabled != enabled;
        Ok((changes.then_some(Edit::SetEnabled(index, enabled)).into_iter().collect(), changes))
    })?;
    let already = if changed { "" } else { "already " };
    session.say(&format!("{}: {:?} is {already}{word}", path.display(), arguments.id));
    Ok(())
}

pub(super) fn delete(session: &mut Session<'_, '_>, arguments: &One) -> Result<(), Failure> {
    let path = arguments.place.path();
    store::update(path, Missing::Refuse, |keys| {
        let (index, _) = find_id(path, keys, &arguments.id)?;
        Ok((vec![Edit::Remove(index)], ()))
    })?;
    session.say(&format!("{}: {:?} is deleted", path.display(), arguments.id));
    Ok(())
}

/// Prints a key that was just stored; it cannot be printed again.
fn show_key(
    session: &mut Session<'_, '_>,
    key: &Secret<String>,
    entry: &KeyEntry,
    path: &Path,
) -> Result<(), Failure> {
    let line = Zeroizing::new(format!("{}\n", key.expose()));
    let shown = session.stdout.write_all(line.as_bytes()).and_then(|()| session.stdout.flush());
    shown.map_err(|error| {
        let (id, path) = (&entry.id, path.display());
        Failure::Fault(format!(
            "the key could not be shown ({error}) and is lost; \
             remove its entry: gatepost key delete {id} --file {path}"
        ))
    })?;
    session.say(&format!("{}: {}", path.display(), output::describe(entry)));
    session.say("Only the digest is stored: this key cannot be shown again.");
    Ok(())
}

fn new_entry(
    keys: &[SpannedKey],
    arguments: &Entry,
    name: Option<&str>,
    digest: Digest,
    now: UnixTime,
    fill: &mut FillRandom<'_>,
) -> Result<KeyEntry, Failure> {
    let id = new_id(keys, arguments.id.as_deref(), fill)?;
    let subject = arguments.subject.as_deref().map(Arc::from);
    let scopes = ScopeSet::from_tokens(arguments.scopes.iter().map(String::as_str));
    Ok(KeyEntry {
        name: name.map(Box::from),
        digest,
        subject: subject.unwrap_or_else(|| format!("key:{id}").into()),
        scopes: Arc::new(scopes.map_err(|error| Failure::Usage(error.to_string()))?),
        claims: Claims::none(),
        not_before: None,
        expires: arguments.expires.map_or(Ok(None), |expires| instant(expires, now))?,
        enabled: true,
        limits: Box::default(),
        replaces: None,
        id,
    })
}

fn new_id(
    keys: &[SpannedKey],
    wanted: Option<&str>,
    fill: &mut FillRandom<'_>,
) -> Result<Arc<str>, Failure> {
    let taken = |id: &str| keys.iter().any(|key| &*key.entry.id == id);
    if let Some(id) = wanted {
        let refused = || Failure::No(format!("the id {id:?} is taken"));
        return if taken(id) { Err(refused()) } else { Ok(id.into()) };
    }
    for _ in 0..ID_TRIES_MAX {
        let mut id = String::from("k-");
        format::push_random(&mut id, ID_RANDOM_CHARS, ID_ALPHABET, fill)?;
        if !taken(&id) {
            return Ok(id.into());
        }
    }
    Err(Failure::Fault("no id could be made up that is not taken".to_owned()))
}

fn instant(expires: Expiry, now: UnixTime) -> Result<Option<UnixTime>, Failure> {
    let at = match expires {
        Expiry::After(duration) => now.plus(duration),
        Expiry::At(at) => at,
        Expiry::Never => return Ok(None),
    };
    if at > now {
        return Ok(Some(at));
    }
    Err(Failure::Usage(format!("the key would expire at {at}, which is not in the future")))
}

fn find_id<'k>(
    path: &Path,
    keys: &'k [SpannedKey],
    id: &str,
) -> Result<(usize, &'k KeyEntry), Failure> {
    let found = keys.iter().position(|key| &*key.entry.id == id);
    let Some(index) = found else {
        let hint = suggest(id, keys.iter().map(|key| &*key.entry.id));
        return Err(Failure::No(format!("{}: no key has the id {id:?}; {hint}", path.display())));
    };
    Ok((index, &keys[index].entry))
}

fn check_rotatable(old: &KeyEntry, now: UnixTime) -> Result<(), Failure> {
    let id = &old.id;
    let why = match KeyState::of(old.enabled, old.not_before, old.expires, now) {
        KeyState::Active => return Ok(()),
        KeyState::Disabled => "is disabled; enable it first, or create a new key",
        KeyState::Expired => "has expired; create a new key",
        KeyState::NotYetValid => "is not valid yet; delete it and create a new key",
    };
    Err(Failure::No(format!("{id:?} {why}")))
}

fn not_found(path: &Path, keys: &[SpannedKey], arguments: &Find) -> Failure {
    let mut peppers: Vec<&str> = keys
        .iter()
        .filter_map(|key| key.entry.digest.pepper())
        .filter(|name| !arguments.peppers.iter().any(|(given, _)| given == name))
        .collect();
    peppers.sort_unstable();
    peppers.dedup();
    let hint = match peppers.as_slice() {
        [] => String::new(),
        names => format!(
            "; digests under {} were not looked at: --pepper NAME=FILE does",
            names.iter().take(50).copied().collect::<Vec<_>>().join(", ")
        ),
    };
    Failure::No(format!("{}: no entry has this key{hint}", path.display()))
}

/// Reads a key from standard input, less one newline.
pub(super) fn read_key(stdin: &mut dyn Read) -> Result<Secret<String>, Failure> {
    let bytes = read_secret(stdin, KEY_BYTES_MAX);
    let bytes = bytes.map_err(|error| Failure::Fault(format!("standard input: {error}")))?;
    let bytes = bytes.ok_or_else(|| {
        Failure::No(format!("the key on standard input has more than {KEY_BYTES_MAX} bytes"))
    })?;
    // Invalid UTF-8 becomes a character that is refused below; nothing is guessed.
    let text = Secret::new(String::from_utf8_lossy(bytes.expose()).into_owned());
    if text.expose().is_empty() {
        return Err(Failure::No("there is no key on standard input".to_owned()));
    }
    Ok(text)
}

/// Reads a secret of at most `bytes_max` bytes, less one newline; `None` if there is more.
fn read_secret(reader: &mut dyn Read, bytes_max: usize) -> io::Result<Option<Secret<Vec<u8>>>> {
    // Room for all of it from the start, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 2));
    reader.take(bytes_max as u64 + 2).read_to_end(&mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok((bytes.len() <= bytes_max).then(|| Secret::new(std::mem::take(&mut *bytes))))
}

/// The key of a pepper: the file's bytes, less one newline.
fn read_pepper(path: &Path) -> Result<Secret<Vec<u8>>, Failure> {
    let no = |what: &str| Failure::No(format!("{}: {what}", path.display()));
    let cannot = |error: io::Error| no(&format!("cannot be read: {error}"));
    let mut file = File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.permissions().mode();
    // As `gatepost run` would refuse it.
    if mode & 0o077 != 0 {
        return Err(no("others than its owner can read this pepper; chmod 600 it"));
    }
    let bytes = read_secret(&mut file, PEPPER_BYTES_MAX).map_err(cannot)?;
    match bytes {
        Some(pepper) if pepper.expose().is_empty() => Err(no("this pepper is empty")),
        Some(pepper) => Ok(pepper),
        None => Err(no(&format!("a pepper has at most {PEPPER_BYTES_MAX} bytes"))),
    }
}

/// Refuses keys that could never be presented.
fn check_importable(key: &str) -> Result<(), Failure> {
    if let Form::Bad(kind) = format::check(key) {
        let prefix = kind.prefix();
        return Err(Failure::No(format!(
            "this begins with {prefix}, but has a checksum mismatch: it would never be accepted"
        )));
    }
    let wrong = key.chars().enumerate().find(|(_, c)| !c.is_ascii_graphic() || *c == ',');
    let Some((at, character)) = wrong else {
        return Ok(());
    };
    let what = match character {
        ',' => "a comma",
        ' ' => "a space",
        '\r' | '\n' => "a line break",
        _ => "something that is not visible ASCII",
    };
    let at = at + 1;
    Err(Failure::No(format!("character {at} of the key is {what}: no header can present it")))
}

fn too_short(key: &str) -> Failure {
    Failure::No(format!(
        "the key has {} characters; under {BARE_KEY_BYTES_MIN} it never matches a bare digest, from \
         which it could be found by trying: store it under a pepper with --pepper and --pepper-file",
        key.len()
    ))
}
