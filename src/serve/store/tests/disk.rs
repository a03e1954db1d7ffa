//! Disks that are full or read-only, on a small file system of their own. Mounting one needs root;
//! without it these tests do nothing, and `make kills` says so.

use std::path::Path;
use std::process::Command as Process;

use super::*;
use crate::issue::rows::{Credential, Row};
use crate::serve::store::sqlite::{Role, open};

/// A mounted tmpfs.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where this process may not mount.
    fn mount(options: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted = run(&["mount", "-t", "tmpfs", "-o", options, "tmpfs"], disk.0.path());
        if !mounted {
            println!("skipped: a tmpfs cannot be mounted here");
        }
        mounted.then_some(disk)
    }

    fn remount(&self, options: &str) {
        assert!(run(&["mount", "-o", &format!("remount,{options}")], self.0.path()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the thread of a store may still be closing its files.
        run(&["umount", "-l"], self.0.path());
    }
}

fn run(command: &[&str], path: &Path) -> bool {
    let ran = Process::new(command[0]).args(&command[1..]).arg(path).output();
    ran.is_ok_and(|ran| ran.status.success())
}

fn start(folder: &Path, clock: &TestClock) -> (Store, Heard) {
    let heard = Heard::default();
    let store = open(folder, Role::Run, clock.clocks(), Box::new(heard.clone())).unwrap();
    heard.take();
    (store, heard)
}

async fn ended(store: &Store, number: usize) -> bool {
    let id = Id::from(&*format!("key_{number}"));
    let rows = store.read(Query::all::<Credential>("id", &id)).await.unwrap();
    rows.into_iter().all(|row| Credential::of(row).unwrap().ended.is_some())
}

/// A person with a long name: fills the disk soon.
fn big(number: usize) -> AddPerson {
    AddPerson { name: Some("x".repeat(100_000).into()), ..person(&format!("p{number}")) }
}

#[test]
fn contract_on_a_full_disk_ends_are_stored_and_nothing_else_is() {
    let Some(disk) = Disk::mount("size=24m") else { return };
    let clock = TestClock::default();
    let (store, _) = start(disk.0.path(), &clock);
    block_on(async {
        let by = Caller::operator;
        store.run(person("ada"), by()).await.unwrap();
        for number in 0..3 {
            store.run(key("ada", number), by()).await.unwrap();
        }
        let mut failed = None;
        for number in 0..1_000 {
            if let Err(error) = store.run(big(number), by()).await {
                failed = Some(error.failure);
                break;
            }
        }
        assert_eq!(failed, Some(Failure::Full));
        for number in 0..3 {
            store.run(revoke(number), by()).await.unwrap().outcome.unwrap();
            assert!(ended(&store, number).await);
        }
        let refused = store.run(key("ada", 9), by()).await.unwrap_err();
        assert_eq!(refused.failure, Failure::Full, "the space kept back is for ends");
        disk.remount("size=64m");
        clock.advance(10);
        store.run(key("ada", 9), by()).await.unwrap().outcome.unwrap();
        store.close().await;
    });
    let (store, heard) = start(disk.0.path(), &clock);
    assert_eq!(heard.take(), Vec::<String>::new());
    block_on(async {
        assert!(ended(&store, 0).await && ended(&store, 2).await && !ended(&store, 9).await);
        store.close().await;
    });
}

#[test]
fn contract_a_store_on_a_read_only_disk_is_refused_with_the_reason() {
    let Some(disk) = Disk::mount("size=48m") else { return };
    let (store, _) = start(disk.0.path(), &TestClock::default());
    block_on(store.close());
    disk.remount("ro");
    let (clocks, followers) = (TestClock::default().clocks(), Box::new(Heard::default()));
    let opened = open(disk.0.path(), Role::Run, clocks, followers);
    let refused = opened.unwrap_err().to_string();
    assert!(refused.contains("Read-only file system"), "{refused}");
    disk.remount("rw");
    let (store, _) = start(disk.0.path(), &TestClock::default());
    block_on(store.close());
}
