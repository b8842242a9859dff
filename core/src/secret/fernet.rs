//! Fernet tokens: AES-128-CBC, authenticated by HMAC-SHA256 (github.com/fernet/spec).

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const VERSION: u8 = 0x80;
/// Version, time and initialization vector.
const HEAD: usize = 1 + 8 + 16;
const MAC: usize = 32;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FernetKey {
    signing: [u8; 16],
    encryption: [u8; 16],
}

impl FernetKey {
    /// Reads 32 bytes of base64, in either alphabet.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.trim().replace('+', "-").replace('/', "_")).ok()?;
        let (signing, encryption) = bytes.split_at_checked(16)?;
        Some(Self { signing: signing.try_into().ok()?, encryption: encryption.try_into().ok()? })
    }

    pub(super) fn write(bytes: &[u8; 32]) -> String {
        BASE64.encode(bytes)
    }

    pub(super) fn encrypt(&self, data: &[u8], now: DateTime<Utc>, iv: [u8; 16]) -> String {
        let mut token = vec![VERSION];
        token.extend_from_slice(&now.timestamp().max(0).to_be_bytes());
        token.extend_from_slice(&iv);
        let cipher = cbc::Encryptor::<Aes128>::new(&self.encryption.into(), &iv.into());
        token.extend_from_slice(&cipher.encrypt_padded_vec::<Pkcs7>(data));
        let mac = self.mac(&token).finalize().into_bytes();
        token.extend_from_slice(&mac);
        BASE64.encode(token)
    }

    /// `None` if it is no token, or one of another key. Its time does not matter.
    pub(super) fn decrypt(&self, token: &str) -> Option<Vec<u8>> {
        let token = BASE64.decode(token.trim()).ok()?;
        let (message, mac) = token.split_at_checked(token.len().checked_sub(MAC)?)?;
        self.mac(message).verify_slice(mac).ok()?;
        let (head, cipher_text) = message.split_at_checked(HEAD)?;
        if head.first() != Some(&VERSION) {
            return None;
        }
        let iv: [u8; 16] = head.get(9..)?.try_into().ok()?;
        let cipher = cbc::Decryptor::<Aes128>::new(&self.encryption.into(), &iv.into());
        cipher.decrypt_padded_vec::<Pkcs7>(cipher_text).ok()
    }

    fn mac(&self, message: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.signing).expect("HMAC takes keys of any length");
        mac.update(message);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key, data, unix time, first byte of the vector, token: made with Python's `cryptography` 42.
    const VECTORS: &[(&str, &str, i64, u8, &str)] = &[
        (
            "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
            "hello",
            499_162_800,
            0,
            "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==",
        ),
        (
            "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
            "pässword ✓ with 33 characters!!!",
            1_700_000_000,
            100,
            "gAAAAABlU_EAZGVmZ2hpamtsbW5vcHFyc0iZncGNfp-o-JoHcAQyk9TS2CTYXHVRyq3y1cJ0Y3cmPZzzWdG3aU6_5alLPPviqmTsvOHlejgTk2MuHror9usF2ZFbviCWKeH0kr_dxVRV",
        ),
        (
            "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
            "",
            1_700_000_000,
            1,
            "gAAAAABlU_EAAQIDBAUGBwgJCgsMDQ4PEH_3-FJRs_Qy0A_IfGaVlSacIdKOPlrvmzEyeKnj1qCRWmyFwTEnFArvPff6bfP4uA==",
        ),
        (
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "other key",
            1_800_000_000,
            0,
            "gAAAAABrSdIAAAECAwQFBgcICQoLDA0OD5wrWl1GaTOWHTJLGUQ8fUR3bhUSdC2y27xkgXU1uY3aqvQOcvSCmfkATxuArL7FwA==",
        ),
    ];

    #[test]
    fn tokens_are_those_of_python() {
        for (key, data, time, iv, token) in VECTORS {
            let key = FernetKey::read(key).unwrap();
            let now = DateTime::from_timestamp(*time, 0).unwrap();
            let iv: [u8; 16] = std::array::from_fn(|index| iv + u8::try_from(index).unwrap());
            assert_eq!(key.encrypt(data.as_bytes(), now, iv), *token);
            assert_eq!(key.decrypt(token).as_deref(), Some(data.as_bytes()));
        }
    }

    #[test]
    fn what_was_damaged_is_refused() {
        let (key, .., token) = VECTORS[0];
        let key = FernetKey::read(key).unwrap();
        for index in 0..token.trim_end_matches('=').len() {
            let damaged = format!("{}{}", &token[..index], &token[index + 1..]);
            assert_eq!(key.decrypt(&damaged), None, "{index}");
            assert_eq!(key.decrypt(&token[..index]), None, "{index}");
        }
        assert_eq!(FernetKey::read(VECTORS[3].0).unwrap().decrypt(token), None);
    }

    #[test]
    fn keys_are_32_bytes() {
        let key = VECTORS[3].0;
        assert!(FernetKey::read(&format!(" {key}\n")) == FernetKey::read(key));
        assert!(FernetKey::read("//////////////////////////////////////////8=").is_some());
        for wrong in ["", "abc", "AAECAwQFBgcICQoLDA0ODw==", &"A".repeat(60), "ключ"] {
            assert!(FernetKey::read(wrong).is_none(), "{wrong}");
        }
    }
}
