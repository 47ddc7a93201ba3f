//! What tests over SSH lean on: that throw-away hosts are what they are called, that the limits of their sshd limit, and
//! that the proxy in front of one does to a connection what it is told to.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::command::{self, Output};
use crate::support::eventually::eventually;
use crate::support::hosts::{self, Host, Kind};
use crate::support::port;
use crate::support::process::Process;
use crate::support::tcp_proxy::{Direction, TcpProxy};

/// More than fits into one piece.
static BULK: [u8; 100_000] = [7; 100_000];

#[test]
fn a_fresh_host_has_systemd_and_sudo_but_no_engine() {
    for release in ["trixie", "bookworm"] {
        let host = Host::start(Kind::Fresh, &["--release", release, "--user", "deploy"]);
        let facts = ssh(&host, "hostname; id -un; ps -o comm= 1; . /etc/os-release; echo $VERSION_CODENAME").success();
        assert_eq!(facts.stdout.lines().collect::<Vec<_>>(), [host.name(), "deploy", "systemd", release]);
        let engines = ssh(&host, "command -v docker dockerd containerd podman; true").success();
        assert_eq!(engines.stdout, "");
        assert_eq!(ssh(&host, "sudo -n id -u").success().stdout, "0\n");
        let state = host.run(&["systemctl", "is-system-running", "--wait"]);
        assert_eq!(state.stdout, "running\n", "{}", host.run(&["systemctl", "--failed"]));
    }
}

#[test]
fn a_docker_host_answers_over_ssh() {
    let host = Host::start(Kind::Docker, &["--user", "deploy"]);
    let home = TempDir::new().expect("should make a temporary directory");
    // The docker CLI cannot be told which configuration `ssh` is to use.
    let wrapper = home.path().join("ssh");
    fs::write(&wrapper, format!("#!/bin/sh\nPATH=$OLD_PATH exec ssh -F '{}' \"$@\"\n", host.ssh_config().display()))
        .and_then(|()| fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)))
        .expect("should write wrapper");
    let docker = |arguments: &[&str]| {
        let mut docker = command::command("docker", home.path());
        let path = std::env::var("PATH").unwrap_or_default();
        docker.env("PATH", format!("{}:{path}", home.path().display())).env("OLD_PATH", path);
        docker.args(["--host", &format!("ssh://{}", host.name())]).args(arguments);
        command::run(docker).success().stdout
    };
    let version = ["version", "--format", "{{.Server.Version}}"];
    let before = host.logins();
    let seen = docker(&version);
    assert!(host.logins() > before, "{}", host.sshd_log());
    assert_eq!(seen, host.run(&[&["docker"], &version[..]].concat()).success().stdout);

    host.load(&["busybox:1.37"]);
    assert_eq!(docker(&["run", "--rm", "--publish", "8080:80", "busybox:1.37", "echo", "ran"]), "ran\n");
    host.assert_left_alone();
}

#[test]
fn a_podman_host_answers_over_ssh_without_root() {
    let host = Host::start(Kind::Podman, &["--user", "deploy"]);
    host.load(&["busybox:1.37"]);
    let home = TempDir::new().expect("should make a temporary directory");
    for (socket, rootless) in [("/run/user/1000/podman/podman.sock", true), ("/run/podman/podman.sock", false)] {
        let status = format!("sudo -n curl --silent --fail --unix-socket {socket} http://podman/v4.0.0/libpod/info");
        let info = ssh(&host, &status).success().stdout;
        assert!(info.contains(&format!("\"rootless\":{rootless}")), "{info}");
    }

    let local = home.path().join("engine");
    let forward = format!("{}:/run/user/1000/podman/podman.sock", local.display());
    let _tunnel = Running::start(ssh_command(&host).args(["-N", "-L", &forward]).arg(host.name()));
    eventually("the socket is there", || local.exists());
    let mut docker = command::command("docker", home.path());
    docker.env("DOCKER_HOST", format!("unix://{}", local.display()));
    // By the name that Compose files give, and with networking.
    docker.args(["run", "--rm", "--publish", "8080:80", "busybox:1.37", "echo", "ran"]);
    assert_eq!(command::run(docker).success().stdout, "ran\n");
}

#[test]
fn limits_of_sshd_limit() {
    let stock = Host::start(Kind::Fresh, &[]);
    assert_eq!((opens_two_sessions(&stock), greets_two_at_once(&stock), forwards_sockets(&stock)), (true, true, true));
    assert_eq!(ssh(&stock, "true").success().stderr, "");

    let limits = ["--sshd", "MaxSessions 1", "--sshd", "MaxStartups 1:100:1"];
    let others = ["--sshd", "AllowStreamLocalForwarding no", "--banner", "Authorized use only"];
    let limited = Host::start(Kind::Fresh, &[limits, others].concat());
    assert_eq!(
        (opens_two_sessions(&limited), greets_two_at_once(&limited), forwards_sockets(&limited)),
        (false, false, false)
    );
    assert_eq!(ssh(&limited, "true").success().stderr, "Authorized use only\n");
}

#[test]
fn shells_and_rights_are_as_asked_for() {
    let user = ["--user", "deploy"];
    let fish = Host::start(Kind::Fresh, &[&user[..], &["--shell", "fish", "--sudo", "password"]].concat());
    assert_eq!(ssh(&fish, "set --query FISH_VERSION; and echo fish").success().stdout, "fish\n");
    assert!(ssh(&fish, "sudo -n true").exits(1).stderr.contains("a password is required"));
    assert_eq!(ssh(&fish, "echo deploy | sudo -S -p '' id -u").success().stdout, "0\n");

    let noise = ["--shell", "tcsh", "--noise", "Welcome!", "--no-docker-group"];
    let tcsh = Host::start(Kind::Docker, &[&user[..], &noise].concat());
    assert_eq!(ssh(&tcsh, "if ($?tcsh) echo tcsh").success().stdout, "Welcome!\ntcsh\n");
    assert!(ssh(&tcsh, "docker version").exits(1).stderr.contains("permission denied"));
    ssh(&tcsh, "sudo -n docker version").success();

    let bash = Host::start(Kind::Fresh, &[&user[..], &["--noise", "Welcome!", "--sudo", "none"]].concat());
    assert_eq!(ssh(&bash, "echo $0").success().stdout, "Welcome!\nbash\n");
    let refused = ssh(&bash, "echo deploy | sudo -S -p '' true").exits(1);
    assert!(refused.stderr.contains("deploy is not in the sudoers file"), "{refused}");
}

#[test]
fn hosts_know_their_logins_and_what_those_leave_running() {
    let host = Host::start(Kind::Fresh, &[]);
    assert_eq!(host.logins(), 0);
    for _ in 0..3 {
        ssh(&host, "true").success();
    }
    assert_eq!(host.logins(), 3);
    host.assert_left_alone();

    // It goes on after its connection.
    ssh(&host, "setsid sleep 321 </dev/null >/dev/null 2>&1 &").success();
    eventually("one login", || host.ssh_processes().len() == 1);
    let left = host.ssh_processes();
    assert!(left[0].ends_with(" sleep 321"), "{left:?}");
    // One that has not logged in.
    let _greeting = TcpStream::connect(host.address()).expect("should connect");
    eventually("more than one login", || host.ssh_processes().len() > 1);
    assert_eq!(host.logins(), 4);
}

#[test]
fn hosts_of_ended_runs_are_swept() {
    let host = Host::start(Kind::Fresh, &[]);
    let container = host.container();
    let is_there = |container: &str| docker(&["container", "inspect", container]).code == Some(0);
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("should run");
    let process = Process::find(sleeper.id()).expect("should be there");
    let other = process.to_string().replacen("pid:[", "pid:[4", 1);
    let create = |process: &str| {
        let label = format!("{}={process}", hosts::PROCESS_LABEL);
        docker(&["create", "--label", &label, "busybox:1.37", "true"]).success().stdout.trim().to_owned()
    };
    let (mine, elsewhere) = (create(&process.to_string()), create(&other));
    hosts::sweep();
    let while_running = [is_there(&container), is_there(&mine), is_there(&elsewhere)];
    sleeper.kill().and_then(|()| sleeper.wait()).expect("should end");
    hosts::sweep();
    let afterwards = [is_there(&container), is_there(&mine), is_there(&elsewhere)];
    docker(&["rm", "--force", &mine, &elsewhere]);
    assert_eq!((while_running, afterwards), ([true, true, true], [true, false, true]));

    let folder = host.ssh_config();
    drop(host);
    assert!(!is_there(&container) && !folder.exists());
}

#[test]
fn the_proxy_delays_a_login() {
    let host = Host::start(Kind::Fresh, &[]);
    let proxy = TcpProxy::start(host.address());
    let config = host.ssh_config_via(proxy.address());
    let login = || {
        let start = Instant::now();
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(&config).args(["-o", "BatchMode=yes", host.name(), "true"]);
        command::run(ssh).success();
        start.elapsed()
    };
    let near = least(4, login);
    proxy.change_both(|conditions| conditions.delay = Duration::from_millis(100));
    let far = login();
    // TCP, banners, key exchange, authentication and a session take at least six round trips.
    assert!(far > near.mul_f64(0.5) + Duration::from_millis(1200), "{near:?}, then {far:?}");
    assert_eq!(proxy.connections(), 5);
    assert_eq!(host.logins(), 5);
}

#[test]
fn the_proxy_delays_each_way() {
    let (proxy, mut client) = echo();
    let round_trip = |client: &mut TcpStream, bytes: &[u8]| {
        let start = Instant::now();
        exchange(client, bytes).expect("should answer");
        start.elapsed()
    };
    assert!(least(10, || round_trip(&mut client, b"ping")) < Duration::from_millis(100));
    proxy.change(Direction::Up, |conditions| conditions.delay = Duration::from_millis(150));
    let up = least(10, || round_trip(&mut client, b"ping"));
    proxy.change(Direction::Down, |conditions| conditions.delay = Duration::from_millis(150));
    let both = least(10, || round_trip(&mut client, b"ping"));
    assert!((150..280).contains(&up.as_millis()), "{up:?}");
    assert!((300..480).contains(&both.as_millis()), "{both:?}");

    // A delay is no limit: what was sent together comes together.
    let bulk = least(10, || round_trip(&mut client, &BULK));
    assert!(bulk < Duration::from_millis(700), "{bulk:?}");
    // A new connection needs a round trip before its first bytes are on their way.
    let start = Instant::now();
    let mut client = connect(&proxy);
    round_trip(&mut client, b"ping");
    assert!(start.elapsed() >= Duration::from_millis(600), "{:?}", start.elapsed());
}

#[test]
fn the_proxy_limits_bandwidth() {
    let (proxy, mut client) = echo();
    proxy.change(Direction::Down, |conditions| conditions.bytes_per_second = Some(200_000));
    let mut take = || {
        let start = Instant::now();
        exchange(&mut client, &BULK).expect("should answer");
        start.elapsed()
    };
    let limited = take();
    assert!((450..20_000).contains(&limited.as_millis()), "{limited:?}");
    proxy.change(Direction::Down, |conditions| conditions.bytes_per_second = None);
    let free = least(5, &mut take);
    assert!(free < Duration::from_millis(400), "{free:?}");
    assert_eq!((proxy.passed(Direction::Up), proxy.passed(Direction::Down)), (600_000, 600_000));
}

#[test]
fn the_proxy_stalls() {
    let (proxy, mut client) = echo();
    exchange(&mut client, b"ping").expect("should answer");
    proxy.change(Direction::Down, |conditions| conditions.stalled = true);
    client.set_read_timeout(Some(Duration::from_millis(300))).expect("should set timeout");
    let error = exchange(&mut client, b"ping").expect_err("should get no answer");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    assert_eq!((proxy.passed(Direction::Up), proxy.passed(Direction::Down)), (8, 4));
    // As if nothing had happened.
    proxy.change(Direction::Down, |conditions| conditions.stalled = false);
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("should set timeout");
    let mut late = [0; 4];
    client.read_exact(&mut late).expect("should be answered");
    assert_eq!(&late, b"ping");
}

#[test]
fn the_proxy_cuts() {
    let (proxy, mut client) = echo();
    exchange(&mut client, b"ping").expect("should answer");
    proxy.cut();
    assert_eq!(client.read(&mut [0]).expect_err("should be cut").kind(), ErrorKind::ConnectionReset);

    let mut client = connect(&proxy);
    exchange(&mut client, b"ping").expect("should answer");
    proxy.change(Direction::Down, |conditions| conditions.cut_after = Some(10));
    client.write_all(&[7; 100]).expect("should send");
    let mut answered = Vec::new();
    let error = client.read_to_end(&mut answered).expect_err("should be cut");
    assert_eq!((error.kind(), answered.len()), (ErrorKind::ConnectionReset, 10));
    // Until this is taken back, no connection gets anything.
    exchange(&mut connect(&proxy), b"ping").expect_err("should be cut");
    proxy.change(Direction::Down, |conditions| conditions.cut_after = None);
    exchange(&mut connect(&proxy), b"ping").expect("should answer");
    assert_eq!(proxy.connections(), 4);

    // What ends orderly is not cut.
    let mut client = connect(&proxy);
    client.write_all(b"bye").and_then(|()| client.shutdown(std::net::Shutdown::Write)).expect("should send");
    let mut answered = Vec::new();
    client.read_to_end(&mut answered).expect("should end");
    assert_eq!(answered, b"bye");

    let address = proxy.address();
    let mut open = connect(&proxy);
    drop(proxy);
    assert!(!matches!(open.read(&mut [0]), Ok(1..)));
    port::await_closed(address);
}

/// The least that something takes: what else the machine does only adds to that.
fn least(times: usize, something: impl FnMut() -> Duration) -> Duration {
    std::iter::repeat_with(something).take(times).min().expect("more than none")
}

/// Whether a connection has room for two sessions at the same time.
fn opens_two_sessions(host: &Host) -> bool {
    let folder = TempDir::new().expect("should make a temporary directory");
    let socket = folder.path().join("master");
    let mut master = ssh_command(host);
    let _master = Running::start(master.arg("-M").arg("-S").arg(&socket).args([host.name(), "sleep", "60"]));
    eventually("socket and command are there", || socket.exists() && host.run(&["pgrep", "sleep"]).code == Some(0));
    let mut second = ssh_command(host);
    // Where the master refuses, `ssh` would go on with a connection of its own.
    second.arg("-S").arg(&socket).args(["-o", "ProxyCommand=false", host.name(), "true"]);
    let second = command::run(second);
    // It would outlive its connection.
    host.run(&["pkill", "sleep"]).success();
    assert_eq!(second.code == Some(0), !second.stderr.contains("Session open refused by peer"), "{second}");
    second.code == Some(0)
}

/// Whether sshd speaks to one who comes while another has not logged in yet.
fn greets_two_at_once(host: &Host) -> bool {
    let mut first = TcpStream::connect(host.address()).expect("should connect");
    let mut greeting = [0; 4];
    first.read_exact(&mut greeting).expect("should greet the first");
    assert_eq!(&greeting, b"SSH-");
    let mut second = TcpStream::connect(host.address()).expect("should connect");
    let greeted = second.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-";
    // Until sshd has noticed that they are gone, they count.
    drop((first, second));
    host.assert_left_alone();
    greeted
}

/// Whether Unix sockets can be reached through a connection.
fn forwards_sockets(host: &Host) -> bool {
    let folder = TempDir::new().expect("should make a temporary directory");
    let socket = folder.path().join("socket");
    let forward = format!("{}:/run/dbus/system_bus_socket", socket.display());
    let _tunnel = Running::start(ssh_command(host).args(["-N", "-L", &forward, host.name()]));
    eventually("the socket is there", || socket.exists());
    let mut bus = UnixStream::connect(&socket).expect("should connect");
    // How one begins with D-Bus; whoever does is told which ways to authenticate there are.
    let _ = bus.write_all(b"\0AUTH\r\n");
    let mut answer = [0; 8];
    bus.read_exact(&mut answer).is_ok() && &answer == b"REJECTED"
}

/// Runs a command on a host to its end.
#[track_caller]
fn ssh(host: &Host, script: &str) -> Output {
    let mut command = ssh_command(host);
    command.args([host.name(), script]);
    command::run(command)
}

fn ssh_command(host: &Host) -> Command {
    let mut command = Command::new("ssh");
    command.arg("-F").arg(host.ssh_config()).args(["-o", "BatchMode=yes"]);
    command
}

#[track_caller]
fn docker(arguments: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.args(arguments);
    command::run(command)
}

/// A program that runs until this is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("should run"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy in front of a server that sends back what it gets, and a connection through it.
fn echo() -> (TcpProxy, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("should listen");
    let address: SocketAddr = listener.local_addr().expect("should have an address");
    // Goes with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    let proxy = TcpProxy::start(address);
    let client = connect(&proxy);
    (proxy, client)
}

fn connect(proxy: &TcpProxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).expect("should connect");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("should set timeout");
    client
}

/// Sends bytes and waits until they are all back.
fn exchange(client: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut writer = client.try_clone()?;
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(bytes));
        let mut answer = vec![0; bytes.len()];
        client.read_exact(&mut answer)?;
        assert_eq!(answer, bytes);
        Ok(())
    })
}
