//! The app that tests deploy: a small HTTP server whose every answer tells its version, and which starts, ends and
//! fails as its environment says (see [`Settings`]).
//!
//! `app` alone serves; `app healthcheck [URL]` asks a server (by default the one beside it) for its health, so that an
//! image needs no other program; `app leave MILLISECONDS` has the one beside it say that it is not healthy any more, and
//! takes so long. `/health` is answered as `HEALTH` says, `/slow?ms=500` after that time, all else at once.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a container's log is its output")]

#[path = "../http.rs"]
#[expect(dead_code, reason = "the client's part")]
mod http;

use std::env;
use std::fs;
use std::io;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long a graceful end leaves connections open that carry no request: one may be on its way.
const LINGER: Duration = Duration::from_millis(300);

/// What the environment says; each variable may be missing.
struct Settings {
    /// `VERSION`: the first word of every answer; `unknown` by default.
    version: String,
    /// `PORT`: where to listen, on every IPv4 address; 8080 by default.
    port: u16,
    /// `BOOT_MS`: when to begin to listen, in milliseconds after the start; 0 by default.
    boot: Duration,
    /// `ON_TERM`: what a SIGTERM does; `graceful` by default.
    on_term: OnTerm,
    /// `HEALTH`: how `/health` is answered; `ok` by default.
    health: Health,
    /// `SICK_AFTER_MS`: from when on `/health` is answered as bad, in milliseconds after the start; never by default.
    sick_after: Option<Duration>,
    /// `CRASH_AFTER_MS`: when to end unasked, in milliseconds after the start; never by default.
    crash_after: Option<Duration>,
    /// `EXIT_CODE`: the exit code of that end; 1 by default.
    exit_code: u8,
    /// `ALLOCATE_MIB`: memory to take, and really use, from the start; 0 by default.
    allocate: usize,
    /// `BAD_STARTS`: at which starts of this version in all containers together, counted from 1, it is to fail as
    /// `HEALTH`, `SICK_AFTER_MS` and `CRASH_AFTER_MS` say, such as `2,3`; at all by default. They are counted in the
    /// folder [`STARTS`], where the containers have a volume in common.
    bad_starts: Option<String>,
}

/// Holds a file for each start: `VERSION.NUMBER`.
const STARTS: &str = "/starts";

/// There when the app is about to go. The folder is to be one that a restart empties.
const LEAVING: &str = "/run/leaving";

/// What a SIGTERM does.
#[derive(Clone, Copy)]
enum OnTerm {
    /// `graceful`: refuse connections, finish what is open, exit with 0.
    Graceful,
    /// `die`: exit at once with 143, whatever is open.
    Die,
    /// `ignore`: go on.
    Ignore,
}

/// How `/health` is answered.
#[derive(Clone, Copy)]
enum Health {
    /// `ok`: with 200.
    Ok,
    /// `bad`: with 503.
    Bad,
    /// `never`: not at all.
    Never,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [] => run().await,
        [command] if command == "healthcheck" => check("http://127.0.0.1:8080/health").await,
        [command, url] if command == "healthcheck" => check(url).await,
        [command, time] if command == "leave" => leave(time).await,
        _ => Err(format!("unknown arguments: {arguments:?}")),
    };
    result.unwrap_or_else(|error| {
        eprintln!("app: {error}");
        ExitCode::from(2)
    })
}

/// Serves until told to end, or until the settings say so.
async fn run() -> Result<ExitCode, String> {
    // First of all: the first process of a container gets no signal that it has not asked for.
    let terminations = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let settings = Arc::new(Settings::from_env()?.for_this_start().map_err(|error| format!("{STARTS}: {error}"))?);
    // Ones: untouched zeros would take no memory.
    let _memory = vec![1_u8; settings.allocate << 20];
    let stop = CancellationToken::new();
    let begin = Instant::now();
    let server = serve(Arc::clone(&settings), begin, stop.clone());
    tokio::pin!(server);
    tokio::select! {
        () = ordered_to_end(&settings, terminations) => {}
        () = crashed(&settings) => {
            eprintln!("{}: crashing as told", settings.version);
            return Ok(ExitCode::from(settings.exit_code));
        }
        Err(error) = &mut server => return Err(format!("cannot serve: {error}")),
    }
    if let OnTerm::Die = settings.on_term {
        return Ok(ExitCode::from(143));
    }
    stop.cancel();
    server.await.map_err(|error| format!("cannot serve: {error}"))?;
    println!("{}: ended gracefully", settings.version);
    Ok(ExitCode::SUCCESS)
}

/// Resolves at a SIGTERM that is not to be ignored.
async fn ordered_to_end(settings: &Settings, mut terminations: Signal) {
    loop {
        terminations.recv().await;
        println!("{}: got SIGTERM", settings.version);
        if !matches!(settings.on_term, OnTerm::Ignore) {
            return;
        }
    }
}

async fn crashed(settings: &Settings) {
    match settings.crash_after {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Boots, then accepts connections until `stop`, then waits for the open ones.
async fn serve(settings: Arc<Settings>, begin: Instant, stop: CancellationToken) -> io::Result<()> {
    if stop.run_until_cancelled(sleep(settings.boot)).await.is_none() {
        return Ok(());
    }
    let listener = TcpListener::bind(("0.0.0.0", settings.port)).await?;
    println!("{}: listening on {}", settings.version, listener.local_addr()?);
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let body: Arc<str> = format!("{} {hostname}", settings.version).into();
    let mut connections = JoinSet::new();
    while let Some(connection) = stop.run_until_cancelled(listener.accept()).await {
        // Forget those that have ended.
        while connections.try_join_next().is_some() {}
        match connection {
            Ok((stream, _)) => {
                let (settings, body, stop) = (Arc::clone(&settings), Arc::clone(&body), stop.clone());
                let server = Server { settings, begin, body, stop };
                connections.spawn(server.converse(stream));
            }
            // Such as too many open files, or a client that has gone already.
            Err(error) => {
                eprintln!("{}: cannot accept: {error}", settings.version);
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
    drop(listener);
    connections.join_all().await;
    Ok(())
}

/// The server's side of one connection.
struct Server {
    settings: Arc<Settings>,
    /// When the program was started.
    begin: Instant,
    body: Arc<str>,
    stop: CancellationToken,
}

impl Server {
    /// Answers requests until either side wants to end. A request that has begun is always answered; after `stop`, the
    /// answer says that the connection is closed.
    async fn converse(self, stream: TcpStream) {
        let mut connection = http::Connection::new(stream);
        loop {
            tokio::select! {
                biased;
                () = connection.begins() => {}
                () = self.lingered() => return,
            }
            let Ok(request) = connection.receive_request().await else {
                return;
            };
            let status = self.status(&request.target).await;
            let keep_alive = request.keep_alive && !self.stop.is_cancelled();
            let response = self.response(&request.method, status, keep_alive);
            if connection.send(response.as_bytes()).await.is_err() || !keep_alive {
                return;
            }
        }
    }

    async fn lingered(&self) {
        self.stop.cancelled().await;
        sleep(LINGER).await;
    }

    /// The status for a path and query, at the time it is due.
    async fn status(&self, target: &str) -> &'static str {
        if target == "/health" {
            match self.settings.health {
                Health::Ok if fs::exists(LEAVING).unwrap_or(false) => return "503 Service Unavailable",
                Health::Ok if self.settings.sick_after.is_some_and(|time| self.begin.elapsed() >= time) => {
                    return "503 Service Unavailable";
                }
                Health::Ok => {}
                Health::Bad => return "503 Service Unavailable",
                Health::Never => std::future::pending().await,
            }
        }
        if let Some(milliseconds) = target.strip_prefix("/slow?ms=") {
            let Ok(milliseconds) = milliseconds.parse() else {
                return "400 Bad Request";
            };
            sleep(Duration::from_millis(milliseconds)).await;
        }
        "200 OK"
    }

    fn response(&self, method: &str, status: &str, keep_alive: bool) -> String {
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let body = if method == "HEAD" { "" } else { &self.body };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
            self.body.len()
        )
    }
}

/// Says goodbye for so many milliseconds.
async fn leave(time: &str) -> Result<ExitCode, String> {
    let milliseconds = time.parse().map_err(|_| format!("not a number: {time:?}"))?;
    fs::write(LEAVING, []).map_err(|error| format!("{LEAVING}: {error}"))?;
    sleep(Duration::from_millis(milliseconds)).await;
    Ok(ExitCode::SUCCESS)
}

/// Asks once and says the answer, as it ends up in the container's health log. Fine means a status below 400.
async fn check(url: &str) -> Result<ExitCode, String> {
    let (authority, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.find('/').map(|slash| rest.split_at(slash)))
        .ok_or_else(|| format!("not a URL such as http://127.0.0.1:8080/health: {url:?}"))?;
    match get(authority, path).await {
        Ok(response) => {
            print!("status {}: {}", response.status, String::from_utf8_lossy(&response.body));
            Ok(ExitCode::from(u8::from(response.status >= 400)))
        }
        Err(error) => {
            println!("no answer: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn get(authority: &str, path: &str) -> Result<http::Response, String> {
    let stream = TcpStream::connect(authority).await.map_err(|error| error.to_string())?;
    let mut connection = http::Connection::new(stream);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    connection.send(request.as_bytes()).await.map_err(|error| error.to_string())?;
    connection.receive_response("GET").await.map_err(|error| error.to_string())
}

impl Settings {
    fn from_env() -> Result<Self, String> {
        Ok(Self {
            version: variable("VERSION")?.unwrap_or_else(|| "unknown".to_owned()),
            port: variable("PORT")?.unwrap_or(8080),
            boot: Duration::from_millis(variable("BOOT_MS")?.unwrap_or(0)),
            on_term: variable("ON_TERM")?.unwrap_or(OnTerm::Graceful),
            health: variable("HEALTH")?.unwrap_or(Health::Ok),
            sick_after: variable("SICK_AFTER_MS")?.map(Duration::from_millis),
            crash_after: variable("CRASH_AFTER_MS")?.map(Duration::from_millis),
            exit_code: variable("EXIT_CODE")?.unwrap_or(1),
            allocate: variable("ALLOCATE_MIB")?.unwrap_or(0),
            bad_starts: variable("BAD_STARTS")?,
        })
    }

    /// The same without failures, unless they are due at this start.
    fn for_this_start(self) -> io::Result<Self> {
        let Some(bad_starts) = &self.bad_starts else { return Ok(self) };
        let mut number = 1;
        // Whoever makes a file has its number.
        while let Err(error) = fs::File::create_new(format!("{STARTS}/{}.{number}", self.version)) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            number += 1;
        }
        if bad_starts.split(',').any(|bad| bad == number.to_string()) {
            return Ok(self);
        }
        Ok(Self { health: Health::Ok, sick_after: None, crash_after: None, ..self })
    }
}

/// The value of an environment variable; empty is as good as missing.
fn variable<T: FromStr>(name: &str) -> Result<Option<T>, String> {
    match env::var(name).as_deref() {
        Ok("") | Err(env::VarError::NotPresent) => Ok(None),
        Ok(value) => value.parse().map(Some).map_err(|_| format!("{name} cannot be {value:?}")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

impl FromStr for OnTerm {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "graceful" => Ok(Self::Graceful),
            "die" => Ok(Self::Die),
            "ignore" => Ok(Self::Ignore),
            _ => Err(()),
        }
    }
}

impl FromStr for Health {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "ok" => Ok(Self::Ok),
            "bad" => Ok(Self::Bad),
            "never" => Ok(Self::Never),
            _ => Err(()),
        }
    }
}
