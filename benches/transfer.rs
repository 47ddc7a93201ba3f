//! How fast images get to a host, and how little goes over the link, beside what else people do in the same run. Prints
//! Markdown; fails if a target is missed.
//!
//! An image in 8 layers, of which half can be compressed, goes to a throw-away host over SSH: on the loopback interface,
//! and through a proxy that makes a link of 100 Mbit/s and 20 ms of it. `KEREK_BENCH_MEGABYTES` sets the image's size, 550
//! by default; targets are for that. A registry takes part if the package `docker-registry` can be installed.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use support::command;
use support::engines::{OtherEngine, Store, docker};
use support::hosts::{Host, Kind};
use support::image_archives::{Recipe, files, half_noise};
use support::tcp_proxy::{Direction, TcpProxy};

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the benchmark needs but a part of it")]
mod support;

/// Layers of the image; the last one is small and changes.
const LAYERS: usize = 8;
const TOP: usize = 1_000_000;
/// 100 Mbit/s in bytes per second.
const NARROW: u64 = 12_500_000;
/// What a transfer may take besides layers.
const SPARE: u64 = 256_000;
/// Where the registry listens on the host.
const REGISTRY: u16 = 5000;

/// A figure with what it may be.
struct Figure {
    what: String,
    measured: String,
    target: String,
    met: bool,
}

/// What takes part.
struct Bench {
    host: Host,
    proxy: TcpProxy,
    /// In front of the host's registry, if there is one.
    registry: Option<TcpProxy>,
    base: Vec<Vec<u8>>,
    variants: u64,
}

fn main() -> ExitCode {
    let mut bench = Bench::start();
    let mut figures = Vec::new();
    let sources = [OtherEngine::start(Store::Overlay2), OtherEngine::start(Store::Containerd)];
    bench.limit(Some(NARROW), Duration::from_millis(10));
    figures.extend(bench.cold(&sources[0]));
    figures.extend(bench.changed(&sources[0], "100 Mbit/s, 20 ms", 8.0));
    figures.extend(bench.changed(&sources[1], "100 Mbit/s, 20 ms", 25.0));
    bench.limit(None, Duration::ZERO);
    figures.extend(bench.changed(&sources[0], "loopback", 2.0));
    figures.extend(bench.changed(&sources[1], "loopback", 8.0));
    bench.limit(None, Duration::from_millis(20));
    figures.extend(bench.nothing(&sources[0]));

    println!("| what | measured | target | |\n|---|---|---|---|");
    for Figure { what, measured, target, met } in &figures {
        println!("| {what} | {measured} | {target} | {} |", if *met { "met" } else { "**missed**" });
    }
    if figures.iter().all(|figure| figure.met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Rounds of what takes longest; the others are far from their targets or take no part of a second.
const COLD_ROUNDS: usize = 3;

impl Bench {
    fn start() -> Self {
        let megabytes = std::env::var("KEREK_BENCH_MEGABYTES").ok().and_then(|size| size.parse().ok()).unwrap_or(550);
        let host = Host::start(Kind::Docker, &[]);
        let proxy = TcpProxy::start(host.address());
        let base = programs(LAYERS - 1, megabytes * 1_000_000 / (LAYERS - 1));
        let registry = start_registry(&host);
        Self { host, proxy, registry, base, variants: 0 }
    }

    fn limit(&self, bytes_per_second: Option<u64>, delay: Duration) {
        for proxy in [Some(&self.proxy), self.registry.as_ref()].into_iter().flatten() {
            proxy.change_both(|conditions| {
                conditions.bytes_per_second = bytes_per_second;
                conditions.delay = delay;
            });
        }
    }

    /// Makes another variant of the image, and returns its name.
    fn make(&mut self, source: &OtherEngine) -> String {
        self.variants += 1;
        let name = format!("kerek-test/bench:{}", self.variants);
        let top = half_noise(1000 + self.variants, TOP);
        let layers: Vec<_> = self.base.iter().map(Vec::as_slice).chain([top.as_slice()]).collect();
        source.docker(&["load"], &Recipe::new(&name, &layers).archive()).success();
        name
    }

    /// Kerek's time, bytes on the link, and peak of memory in bytes.
    fn kerek(&self, source: &OtherEngine, name: &str) -> (Duration, u64, u64) {
        let home = tempfile::tempdir().expect("temporary folder");
        let mut command = command::command(env!("CARGO_BIN_EXE_kerek"), home.path());
        let address = format!("ssh://{}", self.host.name());
        let config = self.host.ssh_config_via(self.proxy.address());
        command.env("DOCKER_HOST", source.host()).args(["--host", &address, "transfer-images", "-F"]).arg(config);
        command.arg(name).stdout(Stdio::null()).stderr(Stdio::null());
        let before = self.proxy.passed(Direction::Up);
        let begin = Instant::now();
        let mut child = command.spawn().expect("should start");
        let mut peak = 0;
        let status = loop {
            if let Some(status) = child.try_wait().expect("should wait") {
                break status;
            }
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = high.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok());
            peak = peak.max(kilobytes.unwrap_or(0_u64) * 1024);
            std::thread::sleep(Duration::from_millis(10));
        };
        let took = begin.elapsed();
        assert!(status.success(), "kerek should succeed");
        (took, self.proxy.passed(Direction::Up) - before, peak)
    }

    /// `docker save | FILTER | ssh HOST docker load`.
    fn pipe(&self, source: &OtherEngine, name: &str, filter: &str) -> Duration {
        let config = self.host.ssh_config_via(self.proxy.address());
        let script = "set -o pipefail; docker save \"$1\" | $2 | ssh -F \"$3\" \"$4\" docker load";
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash", name, filter]).arg(config).arg(self.host.name());
        command.env("DOCKER_HOST", source.host());
        timed(|| drop(command::run(command).success()))
    }

    /// Through the registry on the host: pushed by this machine's engine, pulled by the host's.
    fn by_registry(&self, source: &OtherEngine, name: &str) -> Option<Duration> {
        let address = self.registry.as_ref()?.address();
        let pushed = format!("{address}/{name}");
        let script = "set -o pipefail; docker --host \"$1\" save \"$2\" | docker load";
        let mut copy = Command::new("bash");
        copy.args(["-c", script, "bash", &source.host(), name]);
        command::run(copy).success();
        docker(None, &["tag", name, &pushed], &[]).success();
        let took = timed(|| {
            docker(None, &["push", "--quiet", &pushed], &[]).success();
            self.host.run(&["docker", "pull", "--quiet", &format!("127.0.0.1:{REGISTRY}/{name}")]).success();
        });
        docker(None, &["image", "rm", &pushed, name], &[]).success();
        Some(took)
    }

    fn forget(&self) {
        self.host.run(&["docker", "system", "prune", "--all", "--force"]).success();
    }

    fn cold(&mut self, source: &OtherEngine) -> Vec<Figure> {
        let name = self.make(source);
        let registry = self.by_registry(source, &name);
        let (mut pipes, mut kereks) = (Vec::new(), Vec::new());
        for _ in 0..COLD_ROUNDS {
            self.forget();
            pipes.push(self.pipe(source, &name, "zstd -1"));
            self.forget();
            kereks.push(self.kerek(source, &name));
        }
        pipes.sort();
        kereks.sort();
        let (pipe, (kerek, bytes, peak)) = (pipes[COLD_ROUNDS / 2], kereks[COLD_ROUNDS / 2]);
        let megabytes = to_megabytes(bytes);
        let mut figures = vec![
            Figure {
                what: format!("cold, 100 Mbit/s, 20 ms: {megabytes:.0} MB in {}", seconds(kerek)),
                measured: format!("`docker save \\| zstd -1 \\| ssh docker load`: {}", seconds(pipe)),
                target: "not slower".into(),
                met: kerek <= pipe,
            },
            Figure {
                what: "peak memory of kerek".into(),
                measured: format!("{:.1} MB", to_megabytes(peak)),
                target: "≤ 64 MB".into(),
                met: peak <= 64_000_000,
            },
        ];
        figures.extend(registry.map(|registry| beside_registry("cold, 100 Mbit/s, 20 ms", kerek, registry)));
        figures
    }

    fn changed(&mut self, source: &OtherEngine, link: &str, target: f64) -> Vec<Figure> {
        let [first, second, third] = [(); 3].map(|()| self.make(source));
        let title = format!("top layer of 1 MB changed, {:?} source, {link}", source.store);
        let (kerek, bytes, _) = self.kerek(source, &first);
        let pipe = self.pipe(source, &second, "cat");
        let ratio = pipe.as_secs_f64() / kerek.as_secs_f64();
        let mut figures = vec![
            Figure {
                what: format!("{title}: {} (`docker save \\| ssh docker load`: {})", seconds(kerek), seconds(pipe)),
                measured: format!("{ratio:.1} × faster"),
                target: format!("≥ {target} ×"),
                met: ratio >= target,
            },
            Figure {
                what: format!("{title}: bytes on the link"),
                measured: format!("{bytes}"),
                target: "≤ the layer, compressed, and 256 kB".into(),
                met: bytes <= (TOP as u64) * 55 / 100 + SPARE,
            },
        ];
        if source.store == Store::Overlay2 {
            // What the registry and this machine's engine know by then is what they know in practice.
            self.by_registry(source, &second);
            let registry = self.by_registry(source, &third);
            figures.extend(registry.map(|registry| beside_registry(&title, kerek, registry)));
        }
        figures
    }

    fn nothing(&mut self, source: &OtherEngine) -> Vec<Figure> {
        let name = self.make(source);
        self.kerek(source, &name);
        let (took, bytes, _) = self.kerek(source, &name);
        vec![Figure {
            what: format!("nothing missing, 40 ms: {bytes} bytes"),
            measured: seconds(took),
            target: "≤ 1.5 s, ≤ 64,000 bytes".into(),
            met: took <= Duration::from_millis(1500) && bytes <= 64_000,
        }]
    }
}

/// So many layers of that size, of what images mostly consist of: programs and libraries, here those of this machine.
fn programs(layers: usize, size: usize) -> Vec<Vec<u8>> {
    let mut folders = vec![PathBuf::from("/usr/bin"), PathBuf::from("/usr/lib")];
    let mut content = Vec::new();
    while let Some(folder) = folders.pop().filter(|_| content.len() < layers * size) {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).filter(|path| !path.is_symlink()).collect();
        paths.sort();
        let (inner, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
        folders.extend(inner);
        for file in files.iter().filter(|file| file.is_file()) {
            content.extend(fs::read(file).unwrap_or_default());
        }
    }
    assert!(content.len() >= layers * size, "there is less than {} MB in /usr", layers * size / 1_000_000);
    content
        .chunks(size)
        .take(layers)
        .enumerate()
        .map(|(number, part)| files(&[(&format!("part-{number}"), part)]))
        .collect()
}

fn beside_registry(title: &str, kerek: Duration, registry: Duration) -> Figure {
    Figure {
        what: format!("{title}: {}", seconds(kerek)),
        measured: format!("push to and pull from a registry there: {}", seconds(registry)),
        target: "not slower".into(),
        met: kerek <= registry,
    }
}

/// Starts a registry on the host; `None` if it cannot be installed.
fn start_registry(host: &Host) -> Option<TcpProxy> {
    // Debian's own settings ask for a password.
    let settings = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /var/lib/docker-registry}}}}\nhttp: {{addr: \":{REGISTRY}\"}}\n"
    );
    let script = format!(
        "apt-get -qq update && apt-get -qq install -y docker-registry && \
         printf %s '{settings}' >/etc/docker/registry/config.yml && systemctl restart docker-registry && \
         for _ in $(seq 50); do curl -fs http://127.0.0.1:{REGISTRY}/v2/ && exit; sleep 0.2; done; exit 1"
    );
    if host.run(&["sh", "-c", &script]).code != Some(0) {
        return None;
    }
    let address = ["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &host.container()];
    let address = docker(None, &address, &[]).success().stdout;
    Some(TcpProxy::start((address.trim().parse::<std::net::IpAddr>().ok()?, REGISTRY).into()))
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "to one decimal")]
fn to_megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
