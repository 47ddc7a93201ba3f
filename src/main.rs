//! The program: it parses the command line, runs it on a single thread, and exits.

use std::process::ExitCode;

use kerek::error::Failure;
use kerek::report::console;
use kerek::ssh::wrapper::folder;
use kerek::{cli, completion, process, text};

fn main() -> ExitCode {
    if let Some((message, code)) = process::become_child(std::env::args_os()) {
        console::err(&format!("{}\n", text::escape(&message)));
        return ExitCode::from(code);
    }
    if let Some(code) = folder::become_keeper(std::env::args_os()) {
        return code;
    }
    if let Ok(executable) = std::env::current_exe() {
        process::supervise_with(executable);
    }
    if let Some(code) = completion::answer() {
        return code;
    }
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(answer) => return console::answer(&answer),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return console::fail(&Failure::from(anyhow::Error::new(error).context("cannot start"))),
    };
    let code = runtime.block_on(kerek::run(&cli));
    // Threads that hang in a system call, such as a read from a terminal, must not keep the program from ending.
    runtime.shutdown_background();
    code
}
