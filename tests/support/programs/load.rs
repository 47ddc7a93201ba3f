//! `load`: an open-loop HTTP load generator for the command line (see the module `load`).
//!
//! It runs for `--duration`, or until SIGINT or SIGTERM, and then says how it went. Exits with 1 if a request failed.

#![expect(clippy::print_stdout, reason = "this is a program's output")]

#[path = "../http.rs"]
#[expect(dead_code, reason = "the server's part")]
mod http;
#[path = "../load/mod.rs"]
#[expect(dead_code, reason = "the part for tests")]
mod load;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use load::{Config, Connections, Method, Summary, Url};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Sends HTTP requests on a fixed schedule and tells what became of them.
#[derive(Parser)]
struct Options {
    /// Where to send them, as `http://HOST[:PORT][/PATH]`
    #[arg(long)]
    url: Url,
    /// Requests per second
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    rate: f64,
    /// Seconds to go on for; until SIGINT or SIGTERM by default
    #[arg(long, value_parser = positive)]
    duration: Option<f64>,
    #[arg(long, value_enum, default_value_t = Method::Get)]
    method: Method,
    /// Keep connections and reuse them
    #[arg(long, conflicts_with = "new_connections")]
    keep_alive: bool,
    /// Make a connection for each request (default)
    #[arg(long)]
    new_connections: bool,
    /// Seconds a request may take from when it is due
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    timeout: f64,
    /// Write the summary as JSON to a file, too; "-" for stdout instead of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let end = end(
        options.duration.map(Duration::from_secs_f64),
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let config = Config {
        url: options.url,
        method: options.method,
        connections: if options.keep_alive { Connections::KeepAlive } else { Connections::New },
        rate: options.rate,
        timeout: Duration::from_secs_f64(options.timeout),
    };
    let summary = load::run(config, end).await;
    report(&summary, options.json)?;
    Ok(ExitCode::from(u8::from(summary.failed > 0)))
}

async fn end(duration: Option<Duration>, mut interrupts: Signal, mut terminations: Signal) {
    let elapsed = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = elapsed => {}
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
    }
}

fn report(summary: &Summary, json: Option<PathBuf>) -> anyhow::Result<()> {
    let Some(file) = json else {
        print!("{summary}");
        return Ok(());
    };
    let json = serde_json::to_string(summary)?;
    if file.as_os_str() == "-" {
        println!("{json}");
    } else {
        print!("{summary}");
        std::fs::write(&file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Up to a billion, which fits whatever is computed from it.
fn positive(number: &str) -> Result<f64, String> {
    match number.parse() {
        Ok(number) if (0.001..=1e9).contains(&number) => Ok(number),
        _ => Err("not a number between 0.001 and 1000000000".to_owned()),
    }
}
