//! The built-in texts of calls.
//!
//! The voices are those of AWS's voice messages (`VoiceId` of `SendVoiceMessage`). The voices are spelled as in Amazon
//! Polly and have Polly's language tags. It has not been tried on AWS whether upper and lower case matter.

/// The text of a call in one language, and the voice that says it.
pub(super) struct Call {
    pub(super) language: &'static str,
    pub(super) language_code: &'static str,
    pub(super) voice_id: &'static str,
    /// The sentence with brand and code.
    pub(super) first: &'static str,
    /// The sentence that repeats the code.
    pub(super) again: &'static str,
}

impl Call {
    const fn new(
        language: &'static str,
        (language_code, voice_id): (&'static str, &'static str),
        first: &'static str,
        again: &'static str,
    ) -> Self {
        Self {
            language,
            language_code,
            voice_id,
            first,
            again,
        }
    }
}

const ENGLISH: (&str, &str) = (
    "Your {{brand}} verification code is: {{code}}.",
    "I repeat: {{code}}.",
);
const SPANISH: (&str, &str) = (
    "Su código de verificación para {{brand}} es: {{code}}.",
    "Repito: {{code}}.",
);
const FRENCH: (&str, &str) = (
    "Votre code de vérification pour {{brand}} est : {{code}}.",
    "Je répète : {{code}}.",
);

/// The calls of all languages, sorted by language.
pub(super) static VOICE: &[Call] = &[
    Call::new(
        "ar",
        ("arb", "Zeina"),
        "رمز التحقق الخاص بك لدى {{brand}} هو: {{code}}.",
        "أكرر: {{code}}.",
    ),
    Call::new(
        "cy-GB",
        ("cy-GB", "Gwyneth"),
        "Eich cod dilysu {{brand}} yw: {{code}}.",
        "Dyma'r cod eto: {{code}}.",
    ),
    Call::new(
        "da-DK",
        ("da-DK", "Naja"),
        "Din bekræftelseskode til {{brand}} er: {{code}}.",
        "Jeg gentager: {{code}}.",
    ),
    Call::new(
        "de-DE",
        ("de-DE", "Vicki"),
        "Ihr Bestätigungscode für {{brand}} lautet: {{code}}.",
        "Ich wiederhole: {{code}}.",
    ),
    Call::new("en-AU", ("en-AU", "Nicole"), ENGLISH.0, ENGLISH.1),
    Call::new("en-GB", ("en-GB", "Amy"), ENGLISH.0, ENGLISH.1),
    Call::new("en-IN", ("en-IN", "Raveena"), ENGLISH.0, ENGLISH.1),
    Call::new("en-US", ("en-US", "Joanna"), ENGLISH.0, ENGLISH.1),
    // Polly has no `es-419`. Mexican Spanish has the most speakers in the Americas.
    Call::new("es-419", ("es-MX", "Mia"), SPANISH.0, SPANISH.1),
    Call::new("es-ES", ("es-ES", "Lucia"), SPANISH.0, SPANISH.1),
    Call::new("es-MX", ("es-MX", "Mia"), SPANISH.0, SPANISH.1),
    Call::new("es-US", ("es-US", "Lupe"), SPANISH.0, SPANISH.1),
    Call::new("fr-CA", ("fr-CA", "Chantal"), FRENCH.0, FRENCH.1),
    Call::new("fr-FR", ("fr-FR", "Lea"), FRENCH.0, FRENCH.1),
    Call::new(
        "is-IS",
        ("is-IS", "Dora"),
        "Staðfestingarkóðinn þinn fyrir {{brand}} er: {{code}}.",
        "Ég endurtek: {{code}}.",
    ),
    Call::new(
        "it-IT",
        ("it-IT", "Bianca"),
        "Il tuo codice di verifica per {{brand}} è: {{code}}.",
        "Ripeto: {{code}}.",
    ),
    Call::new(
        "ja-JP",
        ("ja-JP", "Mizuki"),
        "{{brand}}の認証コードは、{{code}}です。",
        "繰り返します。{{code}}です。",
    ),
    Call::new(
        "ko-KR",
        ("ko-KR", "Seoyeon"),
        "{{brand}} 인증번호는 {{code}}입니다.",
        "다시 한번 말씀드립니다. {{code}}입니다.",
    ),
    Call::new(
        "nb-NO",
        ("nb-NO", "Liv"),
        "Bekreftelseskoden din for {{brand}} er: {{code}}.",
        "Jeg gjentar: {{code}}.",
    ),
    Call::new(
        "nl-NL",
        ("nl-NL", "Lotte"),
        "Uw verificatiecode voor {{brand}} is: {{code}}.",
        "Ik herhaal: {{code}}.",
    ),
    Call::new(
        "pl-PL",
        ("pl-PL", "Ewa"),
        "Kod weryfikacyjny {{brand}} to: {{code}}.",
        "Powtarzam: {{code}}.",
    ),
    Call::new(
        "pt-BR",
        ("pt-BR", "Camila"),
        "Seu código de verificação {{brand}} é: {{code}}.",
        "Repetindo: {{code}}.",
    ),
    Call::new(
        "pt-PT",
        ("pt-PT", "Ines"),
        "O seu código de verificação {{brand}} é: {{code}}.",
        "Repito: {{code}}.",
    ),
    Call::new(
        "ro-RO",
        ("ro-RO", "Carmen"),
        "Codul dumneavoastră de verificare {{brand}} este: {{code}}.",
        "Repet: {{code}}.",
    ),
    Call::new(
        "ru-RU",
        ("ru-RU", "Tatyana"),
        "Ваш код подтверждения {{brand}}: {{code}}.",
        "Повторяю: {{code}}.",
    ),
    Call::new(
        "sv-SE",
        ("sv-SE", "Astrid"),
        "Din verifieringskod för {{brand}} är: {{code}}.",
        "Jag upprepar: {{code}}.",
    ),
    Call::new(
        "tr-TR",
        ("tr-TR", "Filiz"),
        "{{brand}} doğrulama kodunuz: {{code}}.",
        "Tekrar ediyorum: {{code}}.",
    ),
    Call::new(
        "zh-CN",
        ("cmn-CN", "Zhiyu"),
        "您的{{brand}}验证码是：{{code}}。",
        "再重复一遍：{{code}}。",
    ),
    // Polly's only Mandarin voice is for the mainland, so this text is in simplified characters. The text is only
    // spoken.
    Call::new(
        "zh-TW",
        ("cmn-CN", "Zhiyu"),
        "您的{{brand}}验证码是：{{code}}。",
        "再重复一次：{{code}}。",
    ),
];
