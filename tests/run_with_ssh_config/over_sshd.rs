//! Programs that call ssh, over an sshd of the test's own whose address and key only a config knows.

use std::env;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::place::Place;
use crate::support::command::run;
use crate::support::port;

/// Its path has what a shell would heed: ssh itself gives it to one, for `ProxyJump`.
const CONFIG: &str = "ssh config $x 'y'.conf";

/// An sshd that lets in who runs it, with a key of the place.
struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Sshd {
    /// Starts it, and writes a config with hosts `direct` and `jumping`.
    fn start(place: &Place) -> Self {
        for key in ["host", "user"] {
            run(in_place(place, &["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])).success();
        }
        let port = port::free();
        let folder = place.path().to_str().expect("it is text");
        let environment = ["PATH", "DOCKER_HOST"].into_iter().filter_map(|name| Some((name, env::var(name).ok()?)));
        let environment: Vec<_> = environment.map(|(name, value)| format!("\"{name}={value}\"")).collect();
        place.write(
            "sshd_config",
            &format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n\
                 StrictModes no\nPidFile none\nUsePAM no\nPermitRootLogin prohibit-password\n\
                 PasswordAuthentication no\nSubsystem sftp internal-sftp\nSetEnv {}\n",
                environment.join(" ")
            ),
        );
        let user = run(in_place(place, &["id", "-un"])).success().stdout;
        let host = fs::read_to_string(place.path().join("host.pub")).expect("a new key");
        place.write("known_hosts", &format!("[127.0.0.1]:{port} {host}"));
        place.write(
            CONFIG,
            &format!(
                "Host direct jumping\n  HostName 127.0.0.1\n  Port {port}\n  User {user}  IdentityFile {folder}/user\n  \
                 IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n  BatchMode yes\n\
                 Host jumping\n  ProxyJump direct\n"
            ),
        );
        if run(in_place(place, &["id", "-u"])).success().stdout == "0\n" {
            fs::create_dir_all("/run/sshd").expect("what Debian's service makes before sshd starts");
        }
        let sshd = Command::new("/usr/sbin/sshd")
            .args(["-D", "-E"])
            .arg(place.path().join("sshd.log"))
            .arg("-f")
            .arg(place.path().join("sshd_config"))
            .stdin(Stdio::null())
            .spawn()
            .expect("openssh-server is there (scripts/setup.sh installs it)");
        let sshd = Self(sshd);
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = fs::read_to_string(place.path().join("sshd.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "sshd does not listen: {log}");
            thread::sleep(Duration::from_millis(20));
        }
        sshd
    }
}

fn in_place(place: &Place, words: &[&str]) -> Command {
    let mut command = place.command(words[0]);
    command.args(&words[1..]);
    command
}

/// What the command prints.
#[track_caller]
fn over_ssh(place: &Place, words: &[&str]) -> String {
    run(place.kerek(CONFIG, words)).success().stdout
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn ssh_scp_sftp_rsync_git_and_docker_reach_a_host_that_only_the_config_knows() {
    let place = Place::new();
    let sshd = Sshd::start(&place);
    let folder = place.path().to_str().expect("it is text").to_owned();
    place.write("from/file", "hello");

    // Blind if the hosts could be reached without the config.
    for host in ["direct", "jumping"] {
        assert_ne!(run(in_place(&place, &["ssh", "-o", "BatchMode=yes", host, "true"])).code, Some(0));
    }
    for host in ["direct", "jumping"] {
        assert_eq!(over_ssh(&place, &["ssh", host, "echo $((6 * 7))"]), "42\n");
        run(place.kerek(CONFIG, &["ssh", host, "exit 7"])).exits(7);

        over_ssh(&place, &["scp", "-q", &format!("{host}:{folder}/from/file"), &format!("scp-{host}")]);
        assert_eq!(content(&place.path().join(format!("scp-{host}"))), "hello");

        let batch = place.write("batch", &format!("get {folder}/from/file sftp-{host}\n"));
        over_ssh(&place, &["sftp", "-b", batch.to_str().expect("text"), host]);
        assert_eq!(content(&place.path().join(format!("sftp-{host}"))), "hello");

        over_ssh(&place, &["rsync", "-a", &format!("{host}:{folder}/from/"), &format!("rsync-{host}/")]);
        assert_eq!(content(&place.path().join(format!("rsync-{host}/file"))), "hello");
    }

    run(in_place(&place, &["git", "init", "-q", "--bare", "repository"])).success();
    over_ssh(&place, &["git", "clone", "-q", &format!("direct:{folder}/repository"), "clone"]);
    assert!(place.path().join("clone/.git").is_dir());

    let ask = ["info", "--format", "{{.ID}}"];
    let engine = run(in_place(&place, &[&["docker"], &ask[..]].concat())).success().stdout;
    for host in ["ssh://direct", "ssh://jumping"] {
        assert_eq!(over_ssh(&place, &[&["docker", "--host", host], &ask[..]].concat()), engine);
        over_ssh(&place, &["docker", "--host", host, "ps"]);
    }

    drop(sshd);
    place.assert_nothing_left();
}

#[test]
fn a_killed_command_leaves_no_connection() {
    let place = Place::new();
    let sshd = Sshd::start(&place);
    let mut child =
        place.kerek(CONFIG, &["ssh", "direct", "echo up; sleep 600"]).stdout(Stdio::piped()).spawn().expect("ok");
    let mut answer = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut answer).expect("it is up");
    super::place::send("KILL", child.id());
    child.wait().expect("it ends");
    drop(sshd);
    place.assert_nothing_left();
    assert_eq!(content(&place.path().join("sshd.log")).matches("Accepted publickey").count(), 1);
}
