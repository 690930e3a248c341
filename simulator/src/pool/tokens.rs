//! The tokens of the pool. A key of the desk signs them, and `jwks.json` has the public key, so that a program can check
//! a token as it checks a token of AWS.
//!
//! AWS signs with RS256. The desk signs with ES256: the cryptography that is linked here anyway makes no RSA keys. The
//! key lives as long as the desk, and the issuer is the address of the desk, so nobody takes such a token for AWS's.

use std::{
    io,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use super::users::User;
use crate::wire::random_id;

/// As in the template's client.
pub(super) const VALID_FOR: Duration = Duration::from_hours(1);
pub(super) const REFRESH_VALID_FOR: Duration = Duration::from_hours(30 * 24);

/// The first byte of an uncompressed point. The two coordinates follow, with 32 bytes each.
const UNCOMPRESSED: u8 = 4;

pub(super) struct Key {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

/// A sign-in that has succeeded. Its refresh token renews its tokens.
#[derive(Clone)]
pub(super) struct SignedIn {
    pub(super) sub: String,
    /// The ID that all tokens of this sign-in share.
    pub(super) origin: String,
    pub(super) at: SystemTime,
}

fn failed<E>(_: E) -> io::Error {
    io::Error::other("the desk could not make a key for its tokens")
}

impl Key {
    pub(super) fn new() -> io::Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?;
        let pair =
            EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).map_err(failed)?;
        Ok(Self {
            pair,
            random,
            id: random_id(),
        })
    }

    /// The public key, as AWS serves its keys.
    pub(super) fn set(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point
            .strip_prefix(&[UNCOMPRESSED])
            .and_then(|both| both.split_at_checked(32))
            .unwrap_or_default();
        json!({ "keys": [{
            "alg": "ES256", "crv": "P-256", "kid": self.id, "kty": "EC", "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }] })
    }

    /// `None` if the system has no random bytes.
    fn sign(&self, claims: &Value) -> Option<String> {
        let head = json!({ "kid": self.id, "alg": "ES256" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(claims));
        let signature = self.pair.sign(&self.random, signed.as_bytes()).ok()?;
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        Some(format!("{signed}.{signature}"))
    }

    /// The ID token and the access token of a user.
    pub(super) fn tokens(
        &self,
        user: &User,
        signed_in: &SignedIn,
        [issuer, client]: [&str; 2],
        now: SystemTime,
    ) -> Option<[String; 2]> {
        let seconds = |at: SystemTime| {
            let since = at.duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap_or_default().as_secs()
        };
        let claims = |mut own: Value| {
            let shared = json!({
                "sub": user.sub, "iss": issuer, "origin_jti": signed_in.origin, "event_id": random_id(),
                "auth_time": seconds(signed_in.at), "iat": seconds(now), "exp": seconds(now + VALID_FOR),
                "jti": random_id(),
            });
            if let (Some(own), Value::Object(shared)) = (own.as_object_mut(), shared) {
                own.extend(shared);
            }
            own
        };
        let mut id = json!({ "token_use": "id", "aud": client, "cognito:username": user.sub });
        if let Some(id) = id.as_object_mut() {
            for (name, value) in &user.attributes {
                let value = match name.as_str() {
                    "phone_number_verified" => Value::Bool(value == "true"),
                    _ => value.as_str().into(),
                };
                id.insert(name.clone(), value);
            }
        }
        let access = json!({
            "token_use": "access", "client_id": client, "username": user.sub,
            "scope": "aws.cognito.signin.user.admin",
        });
        Some([self.sign(&claims(id))?, self.sign(&claims(access))?])
    }
}
