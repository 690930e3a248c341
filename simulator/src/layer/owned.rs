//! The arguments of the ledger's methods that borrow their data, as values.

use otp_lambda::{
    ledger::{
        Holder, Issuer, Opening, Resend, SessionDigest, Settled, State, UsedCode, Verification,
    },
    time::Millis,
};

/// The owned type of an argument.
macro_rules! owned_type {
    (&Opening<'_>) => { OwnedOpening };
    (&Resend<'_>) => { OwnedResend };
    (&Settled<'_>) => { OwnedSettled };
    (&[$type:ty]) => { Vec<$type> };
    (&$type:ty) => { $type };
    (Option<&str>) => { Option<String> };
    (Option<&$type:ty>) => { Option<$type> };
    ($type:ty) => { $type };
}

/// The owned value of an argument.
macro_rules! own {
    ($arg:ident: &$type:ident<'_>) => {
        $arg.into()
    };
    ($arg:ident: &$($type:tt)+) => {
        $arg.to_owned()
    };
    ($arg:ident: Option<&str>) => {
        $arg.map(str::to_owned)
    };
    ($arg:ident: Option<&$type:ty>) => {
        $arg.cloned()
    };
    ($arg:ident: $type:ty) => {
        $arg
    };
}

/// The argument of a method, made from a reference to the owned value.
macro_rules! lend {
    ($owned:ident: &$type:ident<'_>) => {
        &$owned.borrow()
    };
    ($owned:ident: &$($type:tt)+) => {
        $owned
    };
    ($owned:ident: Option<&str>) => {
        $owned.as_deref()
    };
    ($owned:ident: Option<&$type:ty>) => {
        $owned.as_ref()
    };
    ($owned:ident: $type:ty) => {
        *$owned
    };
}

pub(super) use {lend, own, owned_type};

/// An [`Opening`] that owns its data.
#[derive(Clone, Debug)]
pub struct OwnedOpening {
    pub state: State,
    pub holder: Holder,
    pub first: Millis,
    pub expires: Millis,
    pub left: u8,
    pub issuers: Vec<Issuer>,
    pub plain_until: Millis,
    pub channel: String,
    pub code_length: u8,
    pub language: String,
    pub brand_name: String,
    pub owner: Option<SessionDigest>,
    pub forget: Vec<UsedCode>,
}

impl From<&Opening<'_>> for OwnedOpening {
    fn from(new: &Opening<'_>) -> Self {
        Self {
            state: new.state,
            holder: new.holder,
            first: new.first,
            expires: new.expires,
            left: new.left,
            issuers: new.issuers.to_vec(),
            plain_until: new.plain_until,
            channel: new.channel.to_owned(),
            code_length: new.code_length,
            language: new.language.to_owned(),
            brand_name: new.brand_name.to_owned(),
            owner: new.owner.cloned(),
            forget: new.forget.to_vec(),
        }
    }
}

impl OwnedOpening {
    #[must_use]
    pub fn borrow(&self) -> Opening<'_> {
        Opening {
            state: self.state,
            holder: self.holder,
            first: self.first,
            expires: self.expires,
            left: self.left,
            issuers: &self.issuers,
            plain_until: self.plain_until,
            channel: &self.channel,
            code_length: self.code_length,
            language: &self.language,
            brand_name: &self.brand_name,
            owner: self.owner.as_ref(),
            forget: &self.forget,
        }
    }
}

/// A [`Resend`] that owns its data.
#[derive(Clone, Debug)]
pub struct OwnedResend {
    pub holder: Holder,
    pub expires: Millis,
    pub issuers: Vec<Issuer>,
    pub plain_until: Millis,
    pub channel: String,
    pub language: String,
}

impl From<&Resend<'_>> for OwnedResend {
    fn from(resend: &Resend<'_>) -> Self {
        Self {
            holder: resend.holder,
            expires: resend.expires,
            issuers: resend.issuers.to_vec(),
            plain_until: resend.plain_until,
            channel: resend.channel.to_owned(),
            language: resend.language.to_owned(),
        }
    }
}

impl OwnedResend {
    #[must_use]
    pub fn borrow(&self) -> Resend<'_> {
        Resend {
            holder: self.holder,
            expires: self.expires,
            issuers: &self.issuers,
            plain_until: self.plain_until,
            channel: &self.channel,
            language: &self.language,
        }
    }
}

/// A [`Settled`] that owns its data.
#[derive(Clone, Debug)]
pub enum OwnedSettled {
    Sent {
        issuer: Issuer,
        message_id: Option<String>,
    },
    Unclear,
    Failed {
        plain_until: Millis,
    },
    Unsent {
        issuers: Vec<Issuer>,
    },
    Back(Box<Verification>),
}

impl From<&Settled<'_>> for OwnedSettled {
    fn from(outcome: &Settled<'_>) -> Self {
        match *outcome {
            Settled::Sent { issuer, message_id } => Self::Sent {
                issuer: issuer.clone(),
                message_id: message_id.map(str::to_owned),
            },
            Settled::Unclear => Self::Unclear,
            Settled::Failed { plain_until } => Self::Failed { plain_until },
            Settled::Unsent { issuers } => Self::Unsent {
                issuers: issuers.to_vec(),
            },
            Settled::Back(earlier) => Self::Back(Box::new(earlier.clone())),
        }
    }
}

impl OwnedSettled {
    #[must_use]
    pub fn borrow(&self) -> Settled<'_> {
        match self {
            Self::Sent { issuer, message_id } => Settled::Sent {
                issuer,
                message_id: message_id.as_deref(),
            },
            Self::Unclear => Settled::Unclear,
            Self::Failed { plain_until } => Settled::Failed {
                plain_until: *plain_until,
            },
            Self::Unsent { issuers } => Settled::Unsent { issuers },
            Self::Back(earlier) => Settled::Back(earlier),
        }
    }
}
