//! The language that most people in a country read.

/// One tag for each country or territory, sorted by country. The country is the last subtag.
///
/// The language is the country's own if people write in this language every day. If people do not write in the
/// country's own language every day, the tag has the language in which networks and banks send their texts there:
/// English in much of Africa and the Pacific, Russian in Belarus, Kazakhstan and Kyrgyzstan.
///
/// Serbian is in Latin letters, as is usual on phones. The tags of Chinese name no script, because the regions imply
/// the script.
#[rustfmt::skip]
pub(super) static OF_COUNTRIES: [&str; 245] = [
    "en-AC", "ca-AD", "ar-AE", "fa-AF", "en-AG", "en-AI", "sq-AL", "hy-AM", "pt-AO", "es-AR", "en-AS", "de-AT", "en-AU", "nl-AW", "sv-AX", "az-AZ",
    "bs-BA", "en-BB", "bn-BD", "nl-BE", "fr-BF", "bg-BG", "ar-BH", "rn-BI", "fr-BJ", "fr-BL", "en-BM", "ms-BN", "es-BO", "nl-BQ", "pt-BR", "en-BS", "en-BT", "en-BW", "ru-BY", "en-BZ",
    "en-CA", "en-CC", "fr-CD", "fr-CF", "fr-CG", "de-CH", "fr-CI", "en-CK", "es-CL", "fr-CM", "zh-CN", "es-CO", "es-CR", "es-CU", "pt-CV", "nl-CW", "en-CX", "el-CY", "cs-CZ",
    "de-DE", "fr-DJ", "da-DK", "en-DM", "es-DO", "ar-DZ",
    "es-EC", "et-EE", "ar-EG", "ar-EH", "ti-ER", "es-ES", "am-ET",
    "fi-FI", "en-FJ", "en-FK", "en-FM", "fo-FO", "fr-FR",
    "fr-GA", "en-GB", "en-GD", "ka-GE", "fr-GF", "en-GG", "en-GH", "en-GI", "kl-GL", "en-GM", "fr-GN", "fr-GP", "es-GQ", "el-GR", "es-GT", "en-GU", "pt-GW", "en-GY",
    "zh-HK", "es-HN", "hr-HR", "ht-HT", "hu-HU",
    "id-ID", "en-IE", "he-IL", "en-IM", "en-IN", "en-IO", "ar-IQ", "fa-IR", "is-IS", "it-IT",
    "en-JE", "en-JM", "ar-JO", "ja-JP",
    "en-KE", "ru-KG", "km-KH", "en-KI", "fr-KM", "en-KN", "ko-KP", "ko-KR", "ar-KW", "en-KY", "ru-KZ",
    "lo-LA", "ar-LB", "en-LC", "de-LI", "si-LK", "en-LR", "en-LS", "lt-LT", "fr-LU", "lv-LV", "ar-LY",
    "ar-MA", "fr-MC", "ro-MD", "sr-Latn-ME", "fr-MF", "mg-MG", "en-MH", "mk-MK", "fr-ML", "my-MM", "mn-MN", "zh-MO", "en-MP", "fr-MQ", "ar-MR", "en-MS", "en-MT", "en-MU", "dv-MV", "en-MW", "es-MX", "ms-MY", "pt-MZ",
    "en-NA", "fr-NC", "fr-NE", "en-NF", "en-NG", "es-NI", "nl-NL", "nb-NO", "ne-NP", "en-NR", "en-NU", "en-NZ",
    "ar-OM",
    "es-PA", "es-PE", "fr-PF", "en-PG", "en-PH", "ur-PK", "pl-PL", "fr-PM", "es-PR", "ar-PS", "pt-PT", "en-PW", "es-PY",
    "ar-QA",
    "fr-RE", "ro-RO", "sr-Latn-RS", "ru-RU", "rw-RW",
    "ar-SA", "en-SB", "en-SC", "ar-SD", "sv-SE", "en-SG", "en-SH", "sl-SI", "nb-SJ", "sk-SK", "en-SL", "it-SM", "fr-SN", "so-SO", "nl-SR", "en-SS", "pt-ST", "es-SV", "en-SX", "ar-SY", "en-SZ",
    "en-TA", "en-TC", "fr-TD", "fr-TG", "th-TH", "tg-TJ", "en-TK", "pt-TL", "tk-TM", "ar-TN", "to-TO", "tr-TR", "en-TT", "en-TV", "zh-TW", "sw-TZ",
    "uk-UA", "en-UG", "en-US", "es-UY", "uz-UZ",
    "it-VA", "en-VC", "es-VE", "en-VG", "en-VI", "vi-VN", "en-VU",
    "fr-WF", "sm-WS",
    "sq-XK",
    "ar-YE", "fr-YT",
    "en-ZA", "en-ZM", "en-ZW",
];
