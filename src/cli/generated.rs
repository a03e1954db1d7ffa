//! `gatepost schema`, `completions` and `man`: text generated from the parser and the arguments.
//!
//! Owns the output files. Never holds a text of its own.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use clap_complete::Shell;

use crate::cli::{Exit, Failure, Outcome, print};

pub(super) fn schema() -> Outcome {
    print(&format!("{:#}\n", crate::config::schema::schema()))?;
    Ok(Exit::Success)
}

pub(super) fn completions(mut command: clap::Command, shell: Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "gatepost", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Success)
}

pub(super) fn man(command: clap::Command, folder: Option<&Path>) -> Outcome {
    match folder {
        None => print(&page(command)?)?,
        Some(folder) => write_pages(command, folder)?,
    }
    Ok(Exit::Success)
}

/// One page for the program, and one for each command.
fn write_pages(mut command: clap::Command, folder: &Path) -> Result<(), Failure> {
    command.build();
    let mut open = vec![(command.get_name().to_owned(), command)];
    // Ends: the tree of commands is finite and each is taken once.
    while let Some((name, command)) = open.pop() {
        let subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        open.extend(subcommands.map(|sub| (format!("{name}-{}", sub.get_name()), sub.clone())));
        let file = folder.join(format!("{name}.1"));
        fs::write(&file, page(command)?).map_err(|error| {
            let text = format!("{}: {error}", file.display());
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied => {
                    Failure::usage(format!("--out: {text}: name a directory that can be written"))
                }
                _ => Failure::fault(text),
            }
        })?;
    }
    Ok(())
}

fn page(command: clap::Command) -> Result<String, Failure> {
    let mut text = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut text);
    rendered.map_err(|error| Failure::fault(format!("manual page: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
