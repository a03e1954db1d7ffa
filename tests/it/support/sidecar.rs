//! A folder of files and the program that is run on them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::{Client, HeldPort, Process, Response, eventually};

/// A folder for one test. In every file written, `@dir@` becomes its path.
#[derive(Clone)]
pub struct Sandbox {
    folder: Arc<TempDir>,
    environment: Vec<(&'static str, String)>,
    log_level: &'static str,
}

/// How a command ended.
#[derive(Debug)]
pub struct Run {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("gp").tempdir().unwrap();
        Self { folder: Arc::new(folder), environment: Vec::new(), log_level: "info" }
    }

    /// With a variable in the environment of what is run.
    pub fn with_variable(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// With another level of the process log.
    pub fn with_log_level(mut self, level: &'static str) -> Self {
        self.log_level = level;
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only we can read.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).unwrap();
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let content = content.replace("@dir@", &self.folder.path().to_string_lossy());
        options.open(&path).unwrap().write_all(content.as_bytes()).unwrap();
        path
    }

    /// Replaces a file by renaming a new one over it, as editors and deployments do.
    pub fn replace(&self, name: &str, content: &str) {
        let fresh = self.write(&format!(".{name}.new"), content);
        fs::rename(fresh, self.path(name)).unwrap();
    }

    /// Runs a command to its end, in the folder.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, "")
    }

    /// As [`Self::run`], with something on standard input.
    pub fn run_with(&self, arguments: &[&str], stdin: &str) -> Run {
        let mut command = self.gatepost(arguments);
        let mut child = Process::spawn(command.stdin(Stdio::piped())).unwrap();
        let read = |mut from: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                from.read_to_end(&mut all).unwrap();
                String::from_utf8_lossy(&all).into_owned()
            })
        };
        let stdout = read(Box::new(child.stdout.take().unwrap()));
        let stderr = read(Box::new(child.stderr.take().unwrap()));
        // A command that does not read its input may have ended by now.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let status = eventually("the command to end", || child.try_wait().unwrap());
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        Run { exit: status.code().unwrap_or(-1), stdout, stderr }
    }

    /// Runs the sidecar on `gatepost.yaml` with Unix sockets `public.sock` and `admin.sock`,
    /// which are put before `config`.
    #[track_caller]
    pub fn start(self, config: &str) -> Sidecar {
        let public = format!("unix:{}", self.path("public.sock").display());
        let admin = format!("unix:{}", self.path("admin.sock").display());
        self.start_on(&public, &admin, config)
    }

    /// As [`Self::start`], on ports of loopback.
    #[track_caller]
    pub fn start_tcp(self, config: &str) -> Sidecar {
        let ports = [HeldPort::new(), HeldPort::new()];
        let [public, admin] = ports.each_ref().map(|port| port.address().to_string());
        let mut sidecar = self.start_on(&public, &admin, config);
        sidecar.ports.extend(ports);
        sidecar
    }

    /// As [`Self::start_tcp`], with more keys of the listener: `tls: { ... }`.
    #[track_caller]
    pub fn start_listener(self, keys: &str, config: &str) -> Sidecar {
        let ports = [HeldPort::new(), HeldPort::new()];
        let [public, admin] = ports.each_ref().map(|port| port.address().to_string());
        let prelude = self.write_listener(&public, keys, &admin, config);
        let mut sidecar = self.spawn(&public, &admin, prelude);
        sidecar.ports.extend(ports);
        sidecar
    }

    /// As [`Self::start`], without waiting for `/readyz` to say yes.
    #[track_caller]
    pub fn start_unready(self, config: &str) -> Sidecar {
        let public = format!("unix:{}", self.path("public.sock").display());
        let admin = format!("unix:{}", self.path("admin.sock").display());
        let prelude = self.write_config(&public, &admin, config);
        let mut sidecar = self.launch(&public, &admin, prelude);
        sidecar.await_that("the sidecar to listen", |sidecar| {
            let connected = Client::try_connect(&sidecar.public).is_ok();
            (connected && Client::try_connect(&sidecar.admin).is_ok()).then_some(())
        });
        sidecar
    }

    #[track_caller]
    fn start_on(self, public: &str, admin: &str, config: &str) -> Sidecar {
        let prelude = self.write_config(public, admin, config);
        self.spawn(public, admin, prelude)
    }

    fn write_config(&self, public: &str, admin: &str, config: &str) -> String {
        self.write_listener(public, "", admin, config)
    }

    fn write_listener(&self, public: &str, keys: &str, admin: &str, config: &str) -> String {
        let keys = if keys.is_empty() { String::new() } else { format!(", {keys}") };
        let prelude = format!(
            "listeners: [{{ address: \"{public}\"{keys} }}]\nadmin: {{ address: \"{admin}\" }}\n"
        );
        self.write("gatepost.yaml", &format!("{prelude}{config}"));
        prelude
    }

    /// Runs the sidecar on the `gatepost.yaml` that is there, with the sockets of
    /// [`Self::start`].
    #[track_caller]
    pub fn start_as_written(self) -> Sidecar {
        let socket = |name: &str| format!("unix:{}", self.path(name).display());
        let (public, admin) = (socket("public.sock"), socket("admin.sock"));
        self.spawn(&public, &admin, String::new())
    }

    #[track_caller]
    fn spawn(self, public: &str, admin: &str, prelude: String) -> Sidecar {
        let mut sidecar = self.launch(public, admin, prelude);
        sidecar.await_ready();
        sidecar
    }

    fn launch(self, public: &str, admin: &str, prelude: String) -> Sidecar {
        let admin = admin.to_owned();
        let log = ["--log-format", "json", "--log-level", self.log_level];
        let arguments = [&log[..], &["run", "--config", "gatepost.yaml"]].concat();
        let mut command = self.gatepost(&arguments);
        let mut child = Process::spawn(command.stdin(Stdio::null())).unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let (public, ports) = (public.to_owned(), Vec::new());
        Sidecar { sandbox: self, child, ports, stdout, stderr, public, admin, prelude }
    }

    /// A socket called `notify` in the folder is the service manager.
    fn gatepost(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.current_dir(self.folder.path()).args(arguments).env_remove("RUST_LOG");
        for proxy in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(proxy);
        }
        match self.path("notify") {
            manager if manager.exists() => command.env("NOTIFY_SOCKET", manager),
            _ => command.env_remove("NOTIFY_SOCKET"),
        };
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn collect(from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let all = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&all);
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            let mut all = into.lock().unwrap();
            all.push_str(&String::from_utf8_lossy(&line));
            all.push('\n');
        }
    });
    all
}

/// A running sidecar, ended when dropped.
pub struct Sidecar {
    // Dropped in this order: the program ends before its ports and its folder go.
    child: Process,
    ports: Vec<HeldPort>,
    pub sandbox: Sandbox,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    public: String,
    admin: String,
    prelude: String,
}

impl Sidecar {
    /// Without a connection to the public listener, so that tests can count those: it is open
    /// before `/readyz` says yes.
    #[track_caller]
    fn await_ready(&mut self) {
        self.await_that("the sidecar to be ready", |sidecar| {
            let mut admin = Client::try_connect(&sidecar.admin).ok()?;
            let answer = admin.exchange("GET", "/readyz", &[("Host", "localhost")]);
            (answer.status == 200).then_some(())
        });
    }

    #[track_caller]
    fn await_that(&mut self, what: &str, look: impl Fn(&Self) -> Option<()>) {
        eventually(what, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("gatepost ended with {status}: {}{}", self.stdout(), self.stderr());
            }
            look(self)
        });
    }

    /// A new connection to the public listener.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(&self.public)
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address of the public listener.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn request(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
        self.connect().exchange(method, target, fields)
    }

    #[track_caller]
    pub fn get(&self, target: &str, fields: &[(&str, &str)]) -> Response {
        self.request("GET", target, fields)
    }

    /// A new connection to the admin listener.
    #[track_caller]
    pub fn connect_admin(&self) -> Client {
        Client::connect(&self.admin)
    }

    /// One request to the admin listener.
    #[track_caller]
    pub fn admin(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
        // With an issuer everything but metrics and probes demands the token that was made.
        let token = fs::read_to_string(self.sandbox.path("state/admin.token"));
        let token = token.map(|token| format!("Bearer {}", token.trim())).unwrap_or_default();
        let has_own = token.is_empty() || fields.iter().any(|(name, _)| *name == "Authorization");
        let made: &[_] = if has_own { &[] } else { &[("Authorization", &*token)] };
        let fields = [&[("Host", "localhost")], fields, made].concat();
        self.connect_admin().exchange(method, target, &fields)
    }

    #[track_caller]
    pub fn metrics(&self) -> String {
        let response = self.admin("GET", "/metrics", &[]);
        assert_eq!(response.status, 200);
        response.text()
    }

    /// The value of one series, written as the exposition has it; 0 when it is not there.
    #[track_caller]
    pub fn metric(&self, series: &str) -> f64 {
        let all = self.metrics();
        let line = all.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The account of a refusal, asked for once: it is there when the answer can be read.
    #[track_caller]
    pub fn why(&self, response: &Response) -> Value {
        let id = response.field("x-request-id").expect("a request id").to_owned();
        let answer = self.admin("GET", &format!("/why/{id}"), &[]);
        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
        answer.json()
    }

    /// Writes another configuration in place; listener and admin stay.
    pub fn configure(&self, config: &str) {
        self.sandbox.replace("gatepost.yaml", &format!("{}{config}", self.prelude));
    }

    /// Writes another configuration, with other keys of the listener.
    pub fn configure_listener(&self, keys: &str, config: &str) {
        self.sandbox.write_listener(&self.public, keys, &self.admin, config);
    }

    /// `POST /reload`.
    #[track_caller]
    pub fn reload(&self) -> Response {
        let length = ("Content-Length", "0");
        self.admin("POST", "/reload", &[("X-Gatepost-Admin", "1"), length])
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for the end and returns its code.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        eventually("gatepost to end", || self.child.try_wait().unwrap()).code()
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits for a line of the process log with this text.
    #[track_caller]
    pub fn has_logged(&self, text: &str) {
        eventually(text, || self.stderr().contains(text).then_some(()));
    }

    /// The access-log line of a response, once it is there.
    #[track_caller]
    pub fn log_line(&self, response: &Response) -> Value {
        let id = response.field("x-request-id").expect("a request id");
        eventually("an access-log line", || {
            let all = self.stdout();
            let line = all.lines().find(|line| line.contains(id))?;
            Some(serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        })
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the sidecar wrote\n{}{}", self.stdout(), self.stderr());
        }
    }
}
