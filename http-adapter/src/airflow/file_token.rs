//! Tokens that stand for files in paths.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// How much of the checksum a token carries.
const CHECKSUM: usize = 12;

/// The token of a file. It is the same on every server. It opens nothing by itself: only sources that the storage holds
/// can be read, by those who may.
pub(super) fn file_token(fileloc: &str) -> String {
    let name = URL_SAFE_NO_PAD.encode(fileloc);
    let checksum = checksum(&name);
    format!("{name}.{checksum}")
}

/// The file that a token stands for; none if nobody made the token.
pub(super) fn file_of(token: &str) -> Option<String> {
    let (name, sum) = token.split_once('.')?;
    if sum != checksum(name) {
        return None;
    }
    String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()
}

fn checksum(name: &str) -> String {
    let digest = Sha256::new().chain_update("updraft file token:").chain_update(name).finalize();
    URL_SAFE_NO_PAD.encode(&digest[..CHECKSUM])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stand_for_files() {
        let token = file_token("/dags/é tl.yaml");
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{token}");
        assert_eq!(file_of(&token).as_deref(), Some("/dags/é tl.yaml"));
        for bad in ["bad_token", "", ".", &token[1..], &token[..token.len() - 1], &format!("{token}x")] {
            assert_eq!(file_of(bad), None, "{bad}");
        }
    }
}
