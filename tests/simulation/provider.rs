//! A provider that makes its codes from the seed. The seed also chooses the behavior that AWS does not document.

use async_trait::async_trait;
use otp_lambda::error::{Error, ErrorCode};
use otp_lambda::otp::{CodeCharacters, CodeShape, Otp};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::provider::{
    Answer, Channel, ChannelLimits, Message, Provider, ProviderLimits, Receipt,
};
use otp_lambda::reference::ReferenceId;
use std::future::pending;
use std::sync::LazyLock;
use std::time::Duration;

use crate::books::{Fate, Fault, Shared};
use crate::store::turn;

static LIMITS: LazyLock<ProviderLimits> = LazyLock::new(|| ProviderLimits {
    code: CodeShape {
        length: 5..=8,
        characters: CodeCharacters::Digits,
    },
    validity_minutes: 1..=60,
    allowed_attempts: 1..=25,
    brand_name: 1..=11,
    channels: vec![ChannelLimits {
        channel: Channel::Sms,
        languages: vec!["en-US".into()],
    }],
    any_language: false,
    brand_is_display_name: false,
    quotas: None,
});

pub(crate) struct FakeProvider {
    pub(crate) books: Shared,
}

impl FakeProvider {
    /// Waits for its turn. Returns false if the caller has crashed meanwhile.
    async fn arrive(&self) -> bool {
        turn().await;
        let books = self.books.lock();
        !books.operations[books.current].crashed
    }

    async fn die<T>(&self) -> T {
        self.books.crash_current();
        pending().await
    }
}

#[async_trait]
impl Provider for FakeProvider {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn limits(&self) -> &ProviderLimits {
        &LIMITS
    }

    async fn send(&self, message: &Message<'_>, _: Duration) -> Result<Receipt, Error> {
        if !self.arrive().await {
            return pending().await;
        }
        let fault = {
            let mut books = self.books.lock();
            books.asked_to_send(message);
            books.provider_step(true)
        };
        match fault {
            Some(Fault::CrashAskingBefore) => return self.die().await,
            Some(Fault::SendRefused) => {
                self.books.lock().set_fate(Fate::Refused);
                turn().await;
                return Err(Error::new(ErrorCode::ProviderThrottled, "made up"));
            }
            Some(Fault::SendUnclearUnsent) => {
                self.books.lock().set_fate(Fate::Unclear);
                turn().await;
                return Err(
                    Error::new(ErrorCode::ProviderTimeout, "made up").with_unknown_delivery()
                );
            }
            _ => self.books.lock().text_leaves(message),
        }
        if fault == Some(Fault::CrashAskingAfter) {
            return self.die().await;
        }
        turn().await;
        if fault == Some(Fault::SendUnclearSent) {
            return Err(
                Error::new(ErrorCode::ProviderUnavailable, "made up").with_unknown_delivery()
            );
        }
        Ok(Receipt {
            message_id: Some("message".to_owned()),
            request_id: None,
        })
    }

    async fn verify(
        &self,
        to: &PhoneNumber,
        reference: &ReferenceId,
        otp: &Otp,
        _: Duration,
    ) -> Result<Answer, Error> {
        if !self.arrive().await {
            return pending().await;
        }
        let fault = {
            let mut books = self.books.lock();
            books.asked_to_verify(reference);
            books.provider_step(false)
        };
        match fault {
            Some(Fault::CrashAskingBefore) => return self.die().await,
            Some(Fault::VerifyUncounted) => {
                turn().await;
                return Err(Error::new(ErrorCode::ProviderUnavailable, "made up"));
            }
            _ => {}
        }
        let verdict = self.books.lock().answer_guess(to, reference, otp);
        if fault == Some(Fault::CrashAskingAfter) {
            return self.die().await;
        }
        turn().await;
        if fault == Some(Fault::VerifyCounted) {
            return Err(Error::new(ErrorCode::ProviderTimeout, "made up"));
        }
        Ok(Answer {
            verdict,
            request_id: None,
        })
    }
}
