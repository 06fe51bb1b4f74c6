//! Running other programs, and saying exactly what was run when one fails.

use std::{
    borrow::Cow,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// One line to the person at the terminal; stdout belongs to the programs that are run.
#[expect(clippy::print_stderr, reason = "the one place where xtask talks")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Announces the command, runs it on this terminal, and fails with the command in the text.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(&format!("$ {}", shell(command)));
    let status = command.status().with_context(|| cannot_run(command))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shell(command));
    }
    Ok(())
}

/// Runs the command and returns its stdout; stderr goes to this terminal.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| cannot_run(command))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", shell(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed text that is not UTF-8", shell(command)))
}

/// Stdout of a command that is only asked whether it is there: `None` if it cannot be run or fails.
pub(crate) fn probe(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one can paste it into a shell. Variables removed from its environment are left
/// out: they are those that `cargo xtask` itself brought in.
pub(crate) fn shell(command: &Command) -> String {
    let directory = command
        .get_current_dir()
        .map(|dir| format!("cd {} && ", quote(dir.as_os_str())));
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quote(value?))));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = variables.chain(words.map(quote)).collect();
    directory.unwrap_or_default() + &line.join(" ")
}

/// The first file of that name in the directories of `PATH`.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| is_program(file))
}

/// Whether the file exists and someone may execute it.
pub(crate) fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A command run as root: itself if we are root, else through sudo.
pub(crate) fn as_root(program: impl AsRef<OsStr>, why: &str) -> Result<Command> {
    if rustix::process::geteuid().is_root() {
        return Ok(Command::new(program));
    }
    let Some(sudo) = in_path("sudo") else {
        bail!("{why} needs root, and sudo is not installed: run the same command as root");
    };
    let mut command = Command::new(sudo);
    command.arg("--").arg(program);
    Ok(command)
}

fn cannot_run(command: &Command) -> String {
    format!("cannot run `{}`", shell(command))
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.contains(char::is_control) {
        // cargo's flag separator, for one, would vanish on a terminal; $'…' is bash's and zsh's.
        return format!("$'{}'", word.chars().map(escape).collect::<String>());
    }
    shlex::try_quote(&word).map_or_else(|_| word.to_string(), Cow::into_owned)
}

fn escape(character: char) -> String {
    match character {
        '\\' | '\'' => format!("\\{character}"),
        control if control.is_ascii_control() => format!("\\x{:02x}", u32::from(control)),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_would_read_it() {
        let mut command = Command::new("cargo");
        command
            .args(["build", "--cfg=arch=\"x86 64\""])
            .env("A", "b c")
            .env_remove("GONE");
        command.current_dir("/tmp/my dir");
        let line = shell(&command);
        let words = shlex::split(&line).unwrap();
        assert_eq!(
            words,
            [
                "cd",
                "/tmp/my dir",
                "&&",
                "A=b c",
                "cargo",
                "build",
                "--cfg=arch=\"x86 64\""
            ]
        );
    }

    #[test]
    fn control_characters_are_shown_so_that_bash_reads_them_back() {
        let word = "-O\u{1f}it's\\é";
        assert_eq!(quote(OsStr::new(word)), "$'-O\\x1fit\\'s\\\\é'");
        let script = format!("printf %s {}", quote(OsStr::new(word)));
        assert_eq!(
            stdout(Command::new("bash").args(["-c", &script])).unwrap(),
            word
        );
    }

    #[test]
    fn a_failing_command_is_named_with_its_status() {
        let error = run(Command::new("sh").args(["-c", "exit 3"]))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "`sh -c 'exit 3'` failed: exit status: 3");
    }

    #[test]
    fn a_command_that_is_not_there_is_named() {
        let error = run(&mut Command::new("/nonexistent/tool"))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "cannot run `/nonexistent/tool`");
    }

    #[test]
    fn a_probe_of_an_absent_or_failing_program_finds_nothing() {
        assert_eq!(probe(&mut Command::new("/nonexistent/tool")), None);
        assert_eq!(probe(&mut Command::new("false")), None);
        assert_eq!(
            probe(Command::new("echo").arg("1.2")),
            Some("1.2\n".to_owned())
        );
    }
}
