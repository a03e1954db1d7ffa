//! Changes as editors and Kubernetes make them, on a real disk.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::base::clock::Clock;
use crate::serve::fixture::{self, CONFIG, SECRET, keys_yaml};
use crate::serve::published::Published;
use crate::serve::reload::{Corridor, Opened, Sources};

/// Long enough for a machine that is busy with something else; a second is what is promised.
const PATIENCE: Duration = Duration::from_secs(20);

struct Process {
    reloader: Arc<Reloader>,
    _watching: Watching,
}

impl Process {
    fn start(config: &Path) -> Self {
        let opened = Corridor::open(config, Sources::of_the_process(), [1, 2]);
        let Opened { snapshot, corridor, .. } = opened.unwrap();
        let published = Arc::new(Published::new(snapshot, fixture::observers()));
        let reloader = Arc::new(Reloader::new(corridor, published));
        let watching = watch(Arc::clone(&reloader)).unwrap();
        Self { reloader, _watching: watching }
    }

    #[track_caller]
    fn wait_for(&self, what: impl Fn(&Reloader) -> bool) {
        let pause = crossbeam_channel::never::<()>();
        let started = Clock::unix_millis().0;
        while !what(&self.reloader) {
            let waited = Duration::from_millis(Clock::unix_millis().0 - started);
            assert!(waited < PATIENCE, "{:?}", self.reloader.last());
            let _ = pause.recv_timeout(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn wait_for_generation(&self, generation: u64) {
        self.wait_for(|reloader| reloader.last().generation == generation);
    }
}

fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn fill(folder: &Path) {
    write_secret(&folder.join("hs.key"), SECRET);
    write_secret(&folder.join("keys.yaml"), &keys_yaml(&["read"], "k1"));
    fs::write(folder.join("gatepost.yaml"), CONFIG).unwrap();
}

#[test]
fn contract_reload_a_file_that_is_written_or_renamed_into_place_takes_effect() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let config = folder.path().join("gatepost.yaml");
    let process = Process::start(&config);
    // In place, as some editors do.
    fs::write(folder.path().join("keys.yaml"), keys_yaml(&["write"], "k1")).unwrap();
    process.wait_for_generation(2);
    // Beside it and renamed, as others do.
    let beside = folder.path().join(".gatepost.yaml.swp");
    fs::write(&beside, CONFIG.replace("/open/**", "/opened/**")).unwrap();
    fs::rename(&beside, &config).unwrap();
    process.wait_for_generation(3);
    // Broken, and mended.
    fs::write(&config, "routes: [").unwrap();
    process.wait_for(|reloader| !reloader.last().is_success());
    assert_eq!(process.reloader.last().generation, 3);
    fs::write(&config, CONFIG).unwrap();
    process.wait_for_generation(4);
    assert!(process.reloader.last().is_success());
}

#[test]
fn contract_reload_a_kubernetes_volume_takes_effect() {
    let volume = tempfile::tempdir().unwrap();
    let folder = volume.path();
    for (name, config) in [("one", CONFIG.to_owned()), ("two", format!("threads: 2\n{CONFIG}"))] {
        fs::create_dir(folder.join(name)).unwrap();
        fill(&folder.join(name));
        fs::write(folder.join(name).join("gatepost.yaml"), config).unwrap();
    }
    symlink("one", folder.join("..data")).unwrap();
    for file in ["gatepost.yaml", "hs.key", "keys.yaml"] {
        symlink(Path::new("..data").join(file), folder.join(file)).unwrap();
    }
    let process = Process::start(&folder.join("gatepost.yaml"));
    symlink("two", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    process.wait_for(|reloader| reloader.last().restart_needed == ["threads"]);
    assert!(process.reloader.last().is_success());
}

#[test]
fn contract_reload_a_file_that_a_new_configuration_names_is_watched() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let config = folder.path().join("gatepost.yaml");
    let process = Process::start(&config);
    fs::create_dir(folder.path().join("other")).unwrap();
    let moved = CONFIG.replace("files: [keys.yaml]", "files: [other/keys.yaml]");
    fs::write(&config, moved).unwrap();
    process.wait_for(|reloader| !reloader.last().is_success());
    write_secret(&folder.path().join("other/keys.yaml"), &keys_yaml(&["read"], "k2"));
    process.wait_for(|reloader| reloader.last().is_success());
    process.wait_for_generation(2);
}

#[test]
fn contract_reload_a_change_without_content_is_not_worth_a_word() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let config = folder.path().join("gatepost.yaml");
    let process = Process::start(&config);
    // The first look of the thread, then a new modification time.
    let wait_for_look = |before: u64| process.wait_for(|reloader| reloader.last().time.0 > before);
    wait_for_look(process.reloader.published().started.0);
    let before = process.reloader.last().time.0;
    let touched = fs::File::options().append(true).open(&config).unwrap();
    touched.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    wait_for_look(before);
    let snapshot = process.reloader.published().snapshots.load_full();
    assert_eq!(snapshot.generation, 1);
    let text = process.reloader.published().observers.metrics.render(&snapshot, Default::default());
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("gatepost_config_reloads_total{result=\"success\"} 0\n"), "{text}");
}

#[test]
fn files_are_found_changed_without_any_event() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    let files = [file.clone()];
    let absent = Looks::of(files.iter());
    fs::write(&file, "1").unwrap();
    let one = Looks::of(files.iter());
    assert_ne!(absent, one);
    assert_eq!(one, Looks::of(files.iter()));
    let beside = folder.path().join("g");
    fs::write(&beside, "2").unwrap();
    fs::rename(&beside, &file).unwrap();
    assert_ne!(one, Looks::of(files.iter()));
}

#[test]
fn dropping_the_watch_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let Process { reloader, _watching: watching } =
        Process::start(&folder.path().join("gatepost.yaml"));
    drop(watching);
    let weak = Arc::downgrade(&reloader);
    drop(reloader);
    let process_over = || weak.upgrade().is_none();
    let pause = crossbeam_channel::never::<()>();
    for _ in 0..4000 {
        if process_over() {
            return;
        }
        let _ = pause.recv_timeout(Duration::from_millis(5));
    }
    panic!("the thread still holds the reloader");
}
