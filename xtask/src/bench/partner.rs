//! A program that runs beside us and answers lines, as `load` and `floor` do.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

use crate::cmd;

/// It ends with us.
pub(crate) struct Partner {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    line: String,
}

impl Partner {
    /// Starts it and waits until it says that it is ready, in a JSON line.
    pub(crate) fn start<T: DeserializeOwned>(command: &mut Command) -> Result<(Self, T)> {
        let line = cmd::shell(command);
        let why = || format!("cannot run `{line}`");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(why)?;
        let stdout = child.stdout.take().with_context(why)?;
        let mut partner = Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(stdout),
            child,
            line,
        };
        let ready = partner.hear()?;
        Ok((partner, ready))
    }

    /// Says a line and returns the answer.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, line: &str) -> Result<T> {
        let why = || format!("`{}` does not listen", self.line);
        let stdin = self.stdin.as_mut().with_context(why)?;
        writeln!(stdin, "{line}").with_context(why)?;
        self.hear()
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut answer = String::new();
        let read = self.stdout.read_line(&mut answer);
        let why = || format!("`{}` says nothing more", self.line);
        if read.with_context(why)? == 0 {
            return Err(anyhow::anyhow!(why()));
        }
        serde_json::from_str(&answer)
            .with_context(|| format!("`{}` says what is not understood: {answer}", self.line))
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // It ends with its input.
        self.stdin = None;
        // Nobody asks any more how.
        let _ = self.child.wait();
    }
}
