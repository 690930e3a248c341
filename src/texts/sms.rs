//! The built-in texts of SMS.
//!
//! Each text fits into one segment with a brand of 20 characters and a code of 8 characters, with and without the
//! second sentence of the text. The tests check this.
//!
//! A text uses only the letters of GSM 03.38 if that is natural in its language. More characters then fit into a
//! segment, and leave room for a last line. A text never drops an accent to save room. No word agrees with the brand in
//! gender or case, because the gender and the case of the brand are not known.
//!
//! Arabic, Persian, Urdu and Hebrew need no direction marks, for three reasons (UAX #9):
//!
//! - Each text begins with a letter of its own script, so every phone lays the paragraph out from right to left.
//! - A word of the script is between brand and code, so brand and code are two runs and keep their order.
//! - Digits and Latin letters run from left to right, even in a paragraph from right to left.
//!
//! If a text had a direction mark, the mark would take one of the 70 characters, and some old phones would show the
//! mark as a box.

/// A language, its text, and the sentence against sharing the code; sorted by language.
pub(super) static SMS: &[(&str, &str, &str)] = &[
    (
        "ar",
        "رمز التحقق لدى {{brand}} هو {{code}}.",
        "لا تشاركه مع أحد.",
    ),
    (
        "bg-BG",
        "Вашият код за {{brand}} е {{code}}.",
        "Не го споделяйте.",
    ),
    ("bn-BD", "আপনার {{brand}} কোড {{code}}।", "এটি কাউকে জানাবেন না।"),
    (
        "ca-ES",
        "El vostre codi per a {{brand}} és {{code}}.",
        "No el compartiu amb altres persones.",
    ),
    (
        "cs-CZ",
        "Váš kód pro {{brand}} je {{code}}.",
        "Nikomu ho nesdělujte.",
    ),
    (
        "cy-GB",
        "Eich cod {{brand}} yw {{code}}.",
        "Peidiwch â'i rannu â neb.",
    ),
    (
        "da-DK",
        "{{code}} er din bekræftelseskode til {{brand}}.",
        "Del den ikke med andre.",
    ),
    (
        "de-DE",
        "{{code}} ist Ihr Bestätigungscode für {{brand}}.",
        "Bitte geben Sie ihn an niemanden weiter.",
    ),
    (
        "el-GR",
        "Ο κωδικός σας για {{brand}}: {{code}}.",
        "Μην τον μοιραστείτε.",
    ),
    (
        "en-GB",
        "{{code}} is your {{brand}} verification code.",
        "Do not share it with anyone.",
    ),
    (
        "en-US",
        "{{code}} is your {{brand}} verification code.",
        "Do not share it with anyone.",
    ),
    (
        "es-419",
        "{{code}} es su clave de un solo uso para {{brand}}.",
        "No la comparta con nadie.",
    ),
    (
        "es-ES",
        "{{code}} es su clave de un solo uso para {{brand}}.",
        "No la comparta con nadie.",
    ),
    (
        "et-EE",
        "Teie {{brand}} kinnituskood on {{code}}.",
        "Ärge jagage seda kellegagi.",
    ),
    (
        "fa-IR",
        "کد تأیید {{brand}} شما {{code}} است.",
        "آن را به کسی ندهید.",
    ),
    (
        "fi-FI",
        "{{brand}}: vahvistuskoodisi on {{code}}.",
        "Älä kerro sitä kenellekään.",
    ),
    (
        "fil-PH",
        "{{code}} ang iyong verification code para sa {{brand}}.",
        "Huwag itong ibahagi kahit kanino.",
    ),
    (
        "fr-CA",
        "{{code}} est votre code de vérification pour {{brand}}.",
        "Ne le communiquez à personne.",
    ),
    (
        "fr-FR",
        "{{code}} est votre code de vérification pour {{brand}}.",
        "Ne le communiquez à personne.",
    ),
    (
        "he-IL",
        "קוד האימות שלך ב-{{brand}} הוא {{code}}.",
        "אין לשתף קוד זה.",
    ),
    (
        "hi-IN",
        "आपका {{brand}} कोड {{code}} है।",
        "इसे किसी को न बताएं।",
    ),
    (
        "hr-HR",
        "Vaš kod za {{brand}} je {{code}}.",
        "Ne dijelite ga ni s kim.",
    ),
    (
        "hu-HU",
        "{{brand}} ellenőrző kód: {{code}}.",
        "Ne adja meg senkinek.",
    ),
    (
        "id-ID",
        "{{code}} adalah kode verifikasi {{brand}} Anda.",
        "Jangan berikan kepada siapa pun.",
    ),
    (
        "is-IS",
        "Kóðinn þinn fyrir {{brand}} er {{code}}.",
        "Ekki deila honum.",
    ),
    (
        "it-IT",
        "{{code}} è il tuo codice di verifica per {{brand}}.",
        "Non comunicarlo a nessuno.",
    ),
    (
        "ja-JP",
        "{{brand}}の認証コードは {{code}} です。",
        "他の人には教えないでください。",
    ),
    (
        "ko-KR",
        "[{{brand}}] 인증번호는 {{code}}입니다.",
        "다른 사람에게 알려 주지 마세요.",
    ),
    (
        "lt-LT",
        "Jūsų {{brand}} kodas: {{code}}.",
        "Niekam jo neatskleiskite.",
    ),
    (
        "lv-LV",
        "Jūsu {{brand}} kods ir {{code}}.",
        "Neizpaudiet to nevienam.",
    ),
    (
        "mr-IN",
        "तुमचा {{brand}} कोड {{code}} आहे.",
        "तो कोणालाही सांगू नका.",
    ),
    (
        "ms-MY",
        "{{code}} ialah kod pengesahan {{brand}} anda.",
        "Jangan kongsikan kod ini dengan sesiapa.",
    ),
    (
        "nb-NO",
        "{{code}} er bekreftelseskoden din for {{brand}}.",
        "Ikke del den med noen.",
    ),
    (
        "nl-NL",
        "{{code}} is uw verificatiecode voor {{brand}}.",
        "Deel deze code met niemand.",
    ),
    (
        "pl-PL",
        "Kod weryfikacyjny {{brand}}: {{code}}.",
        "Nie podawaj go nikomu.",
    ),
    (
        "pt-BR",
        "Seu código {{brand}} é {{code}}.",
        "Não o informe a ninguém.",
    ),
    (
        "pt-PT",
        "O seu código {{brand}} é {{code}}.",
        "Não o revele a ninguém.",
    ),
    (
        "ro-RO",
        "Codul {{brand}} este {{code}}.",
        "Nu îl divulgați nimănui.",
    ),
    (
        "ru-RU",
        "Код подтверждения {{brand}}: {{code}}.",
        "Никому не сообщайте.",
    ),
    (
        "sk-SK",
        "Váš kód pre {{brand}} je {{code}}.",
        "Nikomu ho neposkytujte.",
    ),
    (
        "sl-SI",
        "Vaša koda za {{brand}} je {{code}}.",
        "Ne zaupajte je nikomur.",
    ),
    (
        "sr-Latn-RS",
        "Vaš kod za {{brand}} je {{code}}.",
        "Ne delite ga ni sa kim.",
    ),
    (
        "sv-SE",
        "{{code}} är din verifieringskod för {{brand}}.",
        "Dela den inte med någon.",
    ),
    (
        "sw-KE",
        "{{code}} ni nambari yako ya uthibitishaji ya {{brand}}.",
        "Usimpe mtu mwingine nambari hii.",
    ),
    (
        "ta-IN",
        "உங்கள் {{brand}} குறியீடு {{code}}.",
        "யாரிடமும் பகிராதீர்கள்.",
    ),
    ("te-IN", "మీ {{brand}} కోడ్ {{code}}.", "దీన్ని ఎవరితోనూ పంచుకోవద్దు."),
    (
        "th-TH",
        "รหัสยืนยัน {{brand}} คือ {{code}}",
        "โปรดอย่าบอกรหัสแก่ผู้อื่น",
    ),
    (
        "tr-TR",
        "{{brand}} onay kodunuz: {{code}}.",
        "Lütfen bu kodu kimseye vermeyin.",
    ),
    (
        "uk-UA",
        "Ваш код для {{brand}}: {{code}}.",
        "Нікому не повідомляйте.",
    ),
    (
        "ur-PK",
        "آپ کا {{brand}} تصدیقی کوڈ {{code}} ہے۔",
        "کسی کو نہ بتائیں۔",
    ),
    (
        "vi-VN",
        "Mã {{brand}} của bạn là {{code}}.",
        "Không chia sẻ mã với ai.",
    ),
    (
        "zh-CN",
        "【{{brand}}】您的验证码是 {{code}}。",
        "请勿告知他人。",
    ),
    (
        "zh-TW",
        "【{{brand}}】您的驗證碼是 {{code}}。",
        "請勿提供給他人。",
    ),
];
