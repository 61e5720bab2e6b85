//! Questions at the terminal. Answers that are secret are not echoed.

use std::io::IsTerminal;

use dewdrop_api::SecretText;
use zeroize::Zeroizing;

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};

/// Asks for a secret: `Token (will be hidden): `.
pub fn secret(ctx: &Ctx, what: &str, instead: &str) -> Result<SecretText> {
    if !ctx.settings.interactive {
        return Err(
            Failure::usage(format!("{what} is needed, and -non-interactive forbids to ask for it")).hint(instead)
        );
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{what} is needed, and there is no terminal to ask at")).hint(instead));
    }
    let answer = rpassword::prompt_password(format!("{what} (will be hidden): "))
        .map_err(|e| Failure::usage(format!("ask for {what}: {e}")).hint(instead))?;
    Ok(SecretText::new(answer.trim().to_owned()))
}

/// Reads a secret from stdin, as `-` asks for.
pub fn from_stdin(what: &str) -> Result<SecretText> {
    use std::io::Read;
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .take(1 << 20)
        .read_to_string(&mut text)
        .map_err(|e| Failure::usage(format!("read {what} from stdin: {e}")))?;
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(Failure::usage(format!("{what} was to come from stdin, which is empty")));
    }
    Ok(SecretText::new(trimmed.to_owned()))
}
