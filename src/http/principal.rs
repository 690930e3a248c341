//! The callers that AWS has authenticated, and the check whether they are trusted as backends.

use super::correlation::is_random;
use super::request::Request;

/// A caller that AWS has authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Principal {
    pub(super) identity: Identity,
    /// The name under which the principal's idempotency keys are stored. The name of a role leaves out the session,
    /// because each machine of a backend has its own session. `None` if AWS gives no name that belongs to this caller
    /// alone.
    pub(super) name: Option<String>,
    /// The caller in the log. It is as much of the principal as cannot name a person: no session, and no user of an app.
    pub(super) shown: String,
}

/// The way in which AWS has authenticated a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// A user or a role of IAM, which the operator gives to backends alone.
    Iam,
    /// A role that a Cognito identity pool gives to its users.
    Pool {
        role: Option<Role>,
        /// Whether AWS says that the caller is no guest of the pool. Function URLs do not say so.
        is_no_guest: bool,
    },
    /// The caller that an authorizer names: a user, or the client of a backend.
    Authorizer(Claims),
}

/// A role of IAM. Sessions do not show the path of their role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    account: String,
    name: String,
}

/// The claims of a token, or the context of a Lambda authorizer, as far as they name a caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Claims {
    issuer: Option<String>,
    subject: Option<String>,
    client: Option<String>,
}

/// The session name that identity pools give. If an event does not name the pool, this name is the only sign of a pool.
const SESSION_OF_A_POOL: &str = "CognitoIdentityCredentials";

/// The facts about a signer that AWS writes beside its ARN if its credentials come from an identity pool.
#[derive(Debug, Default)]
pub(super) struct PoolFacts {
    /// Whether AWS has written any of these facts.
    pub(super) is_pool: bool,
    pub(super) is_guest: bool,
    pub(super) identity_id: Option<String>,
}

impl Principal {
    /// The caller that signed a request with IAM credentials.
    ///
    /// Fails closed: a guest of an identity pool is no principal, because anyone can be a guest.
    pub(super) fn signer(arn: Option<String>, pool: PoolFacts) -> Option<Self> {
        let arn = arn.filter(|arn| !arn.is_empty() && !pool.is_guest)?;
        let shown = shown_signer(&arn).unwrap_or_else(|| "iam".to_owned());
        let (without_session, session) = match arn.rsplit_once('/') {
            Some((role, session)) if arn.contains(":assumed-role/") => (role, Some(session)),
            _ => (arn.as_str(), None),
        };
        if !pool.is_pool && session != Some(SESSION_OF_A_POOL) {
            return Some(Self {
                identity: Identity::Iam,
                name: Some(without_session.to_owned()),
                shown,
            });
        }
        let identity_id = pool.identity_id.filter(|id| !id.is_empty());
        Some(Self {
            identity: Identity::Pool {
                role: Role::of_session(without_session),
                is_no_guest: pool.is_pool,
            },
            name: identity_id.map(|id| format!("identity {id}")),
            shown,
        })
    }

    /// The caller that a token names. `claim` returns a claim by its name.
    pub(super) fn of_token<'a>(claim: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self::of_claims("token", &["sub"], claim)
    }

    /// The caller that a Lambda authorizer names. Tokens have no `principalId`, or one that users may choose.
    pub(super) fn of_authorizer<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self::of_claims("authorizer", &["principalId", "sub"], field)
    }

    /// `kind` is shown for a caller that names no client.
    fn of_claims<'a>(
        kind: &str,
        subjects: &[&str],
        claim: impl Fn(&str) -> Option<&'a str>,
    ) -> Self {
        let first = |names: &[&str]| {
            let mut given = names.iter().filter_map(|name| claim(name));
            given.find(|text| !text.is_empty()).map(str::to_owned)
        };
        // The operator may shape the claims of an authorizer.
        let claims = Claims {
            issuer: first(&["iss"]),
            subject: first(subjects),
            client: first(&["client_id", "azp"]),
        };
        let own = claims.subject.as_ref().or(claims.client.as_ref());
        let name = own.map(|own| {
            let issuer = claims.issuer.as_deref().unwrap_or_default();
            format!("authorizer {issuer} {own}")
        });
        let client = claims.client.as_deref().filter(|id| is_plain_id(id));
        Self {
            shown: client.map_or_else(|| kind.to_owned(), |id| format!("client/{id}")),
            identity: Identity::Authorizer(claims),
            name,
        }
    }

    /// Whether AWS has authenticated a caller that cannot be a guest.
    pub(super) fn is_somebody(&self) -> bool {
        let Identity::Pool { is_no_guest, .. } = &self.identity else {
            return true;
        };
        *is_no_guest
    }
}

/// The caller of a request in the log.
pub(super) fn shown(request: &Request) -> Option<String> {
    if let Some(principal) = &request.principal {
        return Some(principal.shown.clone());
    }
    let id = request.api_key_id.as_deref().filter(|id| is_plain_id(id))?;
    Some(format!("api-key/{id}"))
}

/// A signer in the log: `123456789012:role/NAME` for each session of a role, or `123456789012:user/NAME`. Paths are left
/// out, as sessions have none. So is the name of a federated user, which is a name of a session.
fn shown_signer(arn: &str) -> Option<String> {
    let mut parts = arn.splitn(6, ':').skip(4);
    let (account, resource) = (parts.next()?, parts.next()?);
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
    let of_name = |kind: &str, name: &str| {
        let is_fit = name.len() <= LONGEST_IAM_NAME && is_iam_name(name) && !name.contains('/');
        is_fit.then(|| format!("{account}:{kind}/{name}"))
    };
    let shown = match kind {
        "assumed-role" => of_name("role", name.split('/').next()?),
        "user" => of_name("user", name.rsplit('/').next()?),
        "federated-user" | "root" => Some(format!("{account}:{kind}")),
        _ => None,
    };
    shown.filter(|_| is_account && arn.starts_with("arn:"))
}

/// Whether an API key's or a client's ID is one that the log may have. It has fewer digits in a row than a phone number, or
/// is random, and has no `@`, so it is no email address.
fn is_plain_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
    let mut rows = id.split(|c: char| c.is_ascii_alphabetic());
    let digits = |row: &str| row.bytes().filter(u8::is_ascii_digit).count();
    id.len() <= LONGEST_ID
        && id.bytes().all(is_allowed)
        && (is_random(id) || rows.all(|row| digits(row) < DIGITS_OF_A_NUMBER))
        && id.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The most characters of the name of a role or a user.
const LONGEST_IAM_NAME: usize = 64;

/// The fewest digits of a phone number.
const DIGITS_OF_A_NUMBER: usize = 7;

/// The most characters of another ID in the log.
const LONGEST_ID: usize = 128;

fn is_iam_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte);
    !name.is_empty() && name.bytes().all(is_allowed) && !name.ends_with('/')
}

impl Role {
    /// Reads `arn:aws:sts::123456789012:assumed-role/NAME`.
    fn of_session(arn: &str) -> Option<Self> {
        Self::read(arn, "sts", "assumed-role/")
    }

    /// Reads `arn:aws:iam::123456789012:role/PATH/NAME`.
    fn parse(arn: &str) -> Option<Self> {
        let role = Self::read(arn, "iam", "role/")?;
        let name = role.name.rsplit('/').next()?.to_owned();
        Some(Self { name, ..role })
    }

    fn read(arn: &str, service: &str, kind: &str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (prefix, partition, of) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let name = resource.strip_prefix(kind)?;
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        (prefix == "arn"
            && partition.starts_with("aws")
            && of == service
            && region.is_empty()
            && is_account
            && is_iam_name(name))
        .then(|| Self {
            account: account.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// The principals that the operator has named as backends, in addition to those of IAM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedPrincipals(Vec<TrustedPrincipal>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum TrustedPrincipal {
    Role(Role),
    Subject {
        subject: String,
        issuer: Option<String>,
    },
    Client {
        client: String,
        issuer: Option<String>,
    },
}

impl TrustedPrincipals {
    /// Reads entries such as `arn:aws:iam::123456789012:role/app`, `sub=SUBJECT@https://ISSUER` and
    /// `client=CLIENT@https://ISSUER`. An entry without an issuer is for a Lambda authorizer that gives no issuer.
    ///
    /// # Errors
    ///
    /// The position of the first entry that cannot be read, counted from 1.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, usize> {
        let entries = entries.into_iter().enumerate();
        let read =
            entries.map(|(index, entry)| TrustedPrincipal::parse(entry.trim()).ok_or(index + 1));
        read.collect::<Result<_, _>>().map(Self)
    }

    /// Whether the operator has named no principal.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this caller is a backend.
    pub(super) fn trust(&self, principal: &Principal) -> bool {
        match &principal.identity {
            Identity::Iam => true,
            Identity::Pool { role, .. } => role.as_ref().is_some_and(|role| {
                let own = self.0.iter();
                own.filter_map(|own| match own {
                    TrustedPrincipal::Role(own) => Some(own),
                    _ => None,
                })
                .any(|own| own == role)
            }),
            Identity::Authorizer(claims) => self.0.iter().any(|own| own.names(claims)),
        }
    }
}

impl TrustedPrincipal {
    fn parse(entry: &str) -> Option<Self> {
        if entry.starts_with("arn:") {
            return Role::parse(entry).map(Self::Role);
        }
        let (kind, named) = entry.split_once('=')?;
        // A subject may contain an `@`. The issuer is an address, so it begins with `https://`.
        let (own, issuer) = match named.rsplit_once("@https://") {
            Some((own, rest)) if !rest.is_empty() => (own, Some(format!("https://{rest}"))),
            Some(_) => return None,
            None => (named, None),
        };
        let own = Some(own.to_owned()).filter(|own| !own.is_empty())?;
        match kind {
            "sub" => Some(Self::Subject {
                subject: own,
                issuer,
            }),
            "client" => Some(Self::Client {
                client: own,
                issuer,
            }),
            _ => None,
        }
    }

    fn names(&self, claims: &Claims) -> bool {
        match self {
            Self::Role(_) => false,
            Self::Subject { subject, issuer } => {
                claims.subject.as_ref() == Some(subject) && claims.issuer == *issuer
            }
            Self::Client { client, issuer } => {
                claims.client.as_ref() == Some(client)
                    && claims.issuer == *issuer
                    && claims.is_of_the_client_itself(client)
            }
        }
    }
}

impl Claims {
    /// Whether a token is for its client alone. The tokens of an app's users name the app's client, too.
    fn is_of_the_client_itself(&self, client: &str) -> bool {
        let Some(subject) = &self.subject else {
            return true;
        };
        // In the token of a client, Amazon Cognito and others repeat the client as the subject; Auth0 appends a word.
        subject == client || subject.strip_suffix("@clients") == Some(client)
    }
}
