//! Waits for the credential and becomes the command. Whatever the agent gave is in this process only, and all of its memory
//! goes when the command takes its place.

use std::ffi::OsString;

use crate::args::Args;
use crate::ask::{self, Given};
use crate::fail::Fail;
use crate::place::Place;
use crate::search;

/// Comes back only when the command cannot be run.
pub fn run(args: &Args, place: &Place) -> Fail {
    let given = match ask::until_given(place, args.image, args.timeout) {
        Ok(given) => given,
        Err(why) => return why,
    };
    let Given { env, entrypoint, cmd, .. } = given;
    let command = if args.image { of_image(entrypoint, cmd, &args.command) } else { args.command.clone() };
    if command.is_empty() {
        return Fail::NotFound("the image says no command, and the pod neither".into());
    }
    // Those of the credential come last, and so win.
    let given = env.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    search::become_command(&command, &std::env::vars_os().chain(given).collect::<Vec<_>>())
}

/// As Kubernetes does it: arguments of the pod take the place of the image's.
pub fn of_image(entrypoint: Vec<String>, cmd: Vec<String>, args: &[OsString]) -> Vec<OsString> {
    let own = cmd.into_iter().map(OsString::from);
    let rest: Vec<OsString> = if args.is_empty() { own.collect() } else { args.to_vec() };
    entrypoint.into_iter().map(OsString::from).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_arguments_replace_the_images() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let of = |entry: &[&str], cmd: &[&str], args: &[&str]| {
            of_image(words(entry), words(cmd), &args.iter().map(OsString::from).collect::<Vec<_>>())
        };
        assert_eq!(of(&["/app"], &["serve"], &[]), ["/app", "serve"]);
        assert_eq!(of(&["/app"], &["serve"], &["migrate", "-v"]), ["/app", "migrate", "-v"]);
        assert_eq!(of(&[], &["sh"], &[]), ["sh"]);
        assert!(of(&[], &[], &[]).is_empty());
    }
}
