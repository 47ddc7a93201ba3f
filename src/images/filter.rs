//! A program of the user's on the way: it gets an archive on its standard input, and what it prints is sent instead.

use std::io;

use anyhow::Context;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::pipe::{Sink, Upload};
use crate::process::running::Streams;
use crate::process::{Command, Error, each_line};

/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// Lines of what it says that are kept.
const TAIL: usize = 10;

/// Runs the program, whose name is the first of the words. If it fails, or the archive is cut, what it has printed has no
/// end.
pub(super) async fn run(words: &[String], mut archive: Upload, output: Sink) -> anyhow::Result<()> {
    let command = Command::new(words.first().map_or("", String::as_str)).args(words.iter().skip(1));
    let line = command.to_string();
    let (mut running, Streams { mut stdin, mut stdout, stderr }) = command.start()?;
    let feed = async {
        while let Some(frame) = archive.frame().await {
            if let Ok(data) = frame?.into_data() {
                stdin.write_all(&data).await?;
            }
        }
        stdin.shutdown().await?;
        drop(stdin);
        io::Result::Ok(())
    };
    let pass_on = async {
        let mut piece = vec![0; PIECE];
        loop {
            let length = stdout.read(&mut piece).await.map_err(Stop::Unreadable)?;
            if length == 0 {
                return Ok(());
            }
            output.send(Bytes::copy_from_slice(&piece[..length])).await.map_err(|_| Stop::Unwanted)?;
        }
    };
    let mut said = Vec::new();
    let listen = each_line(stderr, |line| {
        if said.len() == TAIL {
            said.remove(0);
        }
        said.push(line);
    });
    // What it says when it does not read to the end is of interest, too.
    let written = match tokio::try_join!(feed.map(Ok), pass_on, listen.map(Ok)) {
        Ok((written, (), _)) => written,
        // Whoever does not want any more knows why.
        Err(Stop::Unwanted) => return Ok(()),
        Err(Stop::Unreadable(error)) => return Err(error.into()),
    };
    let status = running.wait().await?;
    if !status.success() {
        return Err(Error::Failed { command: line, status, stderr: said }.into());
    }
    written.with_context(|| format!("`{line}` did not read to the end"))?;
    // As above.
    let _ = output.end().await;
    Ok(())
}

/// Why nothing more is passed on.
enum Stop {
    Unwanted,
    Unreadable(io::Error),
}
