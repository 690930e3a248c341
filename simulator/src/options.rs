//! The settings that a person gives to the desk: on the command line or in a file.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use otp_lambda::settings::SETTINGS;

use crate::{
    facts::AllFacts,
    local::{END_USER_MESSAGING, Options, PINPOINT},
};

/// The letters O, T and P on a telephone keypad, then a zero.
const PHONE_PORT: u16 = 6870;
const API_PORT: u16 = 6880;

/// Settings that the desk chooses itself, because its AWS and its ledger are in this program.
const OF_THE_DESK: [&str; 5] = [
    "PINPOINT_APPLICATION_ID",
    "LEDGER_TABLE",
    "LEDGER_KEY",
    "OTP_PREVIOUS_PROVIDER",
    "OPERATOR_ALIASES",
];

/// The templates of Notify configurations that the desk uses.
const NOTIFY_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/notify.json");

pub const USAGE: &str = "usage: simulator [--port N] [--api-port N] [--set NAME[=VALUE]] [--settings FILE] [--phone-only] [--invoke FILE]

  --port N            where the phone and the simulated providers listen (6870)
  --api-port N        where the service listens (6880)
  --set NAME=VALUE    a setting of the function, or PROVIDER, HOST, BIND, FACTS; --set NAME takes the value from the environment
  --settings FILE     a file with a line NAME=VALUE for each setting; --set comes before it
  --log FORM          json, or lines for people (default: lines on a terminal, and otherwise json)
  --phone-only        the phone and the simulated providers, without the service
  --invoke FILE       give the event in FILE to the desk that runs, and print the response";

/// The arguments of the program.
#[derive(Debug)]
pub struct Arguments {
    pub phone_port: u16,
    pub api_port: u16,
    /// The address to listen on.
    pub bind: IpAddr,
    pub options: Options,
    /// Whether the command line has settings.
    pub has_settings: bool,
    /// The settings that were given, in words for the person.
    pub given: Vec<String>,
    pub phone_only: bool,
    pub invoke: Option<PathBuf>,
    /// Whether the log is for people, if that was chosen.
    pub readable: Option<bool>,
    pub help: bool,
}

impl Arguments {
    /// Reads the arguments. `environment` returns the value of a variable, and `file` returns the content of a file.
    ///
    /// # Errors
    ///
    /// A sentence about the first argument or setting that is wrong.
    pub fn parse(
        given: impl Iterator<Item = String>,
        environment: &dyn Fn(&str) -> Option<String>,
        file: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Self, String> {
        let mut arguments = Self {
            phone_port: PHONE_PORT,
            api_port: API_PORT,
            bind: Ipv4Addr::LOCALHOST.into(),
            options: Options::of(PINPOINT),
            has_settings: false,
            given: Vec::new(),
            phone_only: false,
            invoke: None,
            readable: None,
            help: false,
        };
        let (mut of_file, mut of_line) = (BTreeMap::new(), BTreeMap::new());
        let mut given = given;
        while let Some(argument) = given.next() {
            let mut value = || {
                given
                    .next()
                    .ok_or_else(|| with_usage(&format!("{argument} needs a value.")))
            };
            match argument.as_str() {
                "--help" | "-h" => arguments.help = true,
                "--phone-only" => arguments.phone_only = true,
                "--port" => arguments.phone_port = port(&argument, &value()?)?,
                "--api-port" => arguments.api_port = port(&argument, &value()?)?,
                "--invoke" => arguments.invoke = Some(value()?.into()),
                "--log" => {
                    arguments.readable = Some(match value()?.as_str() {
                        "json" => false,
                        "lines" => true,
                        other => {
                            return Err(with_usage(&format!(
                                "--log is json or lines, not {other}."
                            )));
                        }
                    });
                }
                "--set" => {
                    let (name, value) = setting(&value()?, environment)?;
                    of_line.insert(name, value);
                }
                "--settings" => {
                    let name = value()?;
                    of_file = read_file(&file(&name)?).map_err(|why| format!("{name}: {why}"))?;
                }
                // `make run PROVIDER=…` and scripts.
                "--provider" => {
                    of_line.insert("PROVIDER".to_owned(), value()?);
                }
                _ => return Err(with_usage(&format!("{argument} is no argument."))),
            }
        }
        arguments.has_settings = !of_line.is_empty();
        of_file.extend(of_line);
        for (name, value) in of_file {
            arguments.set(&name, value, file)?;
        }
        Ok(arguments)
    }

    fn set(
        &mut self,
        name: &str,
        value: String,
        file: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<(), String> {
        match name {
            "PROVIDER" | "OTP_PROVIDER" => {
                if ![PINPOINT, END_USER_MESSAGING].contains(&value.as_str()) {
                    return Err(format!(
                        "{name} is {PINPOINT} or {END_USER_MESSAGING}, not {value}."
                    ));
                }
                self.options.provider = value;
                return Ok(());
            }
            "FACTS" => self.options.facts = facts(&value, file)?,
            "HOST" => {
                for host in value.split(',').map(str::trim) {
                    if !is_host(host) {
                        return Err(format!(
                            "HOST is a name such as desk.example, without http:// and without a port, not {host}."
                        ));
                    }
                    self.options.access.hosts.push(host.to_owned());
                }
            }
            "BIND" => {
                self.bind = value
                    .parse()
                    .map_err(|_| format!("BIND is an address such as 0.0.0.0, not {value}."))?;
                self.options.access.beyond_this_machine = !self.bind.is_loopback();
                if !self.bind.is_unspecified() {
                    self.options.access.hosts.push(bracketed(self.bind));
                }
            }
            own if OF_THE_DESK.contains(&own) => {
                return Err(format!("{own} is chosen by the desk itself."));
            }
            "API_AUTH" if value == "jwt" => {
                return Err(
                    "API_AUTH=jwt needs API Gateway, which checks the tokens. At the desk, API_AUTH=none has the same \
                     rules for callers."
                        .to_owned(),
                );
            }
            own if SETTINGS.iter().any(|known| known.name == own) => {
                self.options.settings.insert(name.to_owned(), value.clone());
            }
            _ => return Err(unknown(name)),
        }
        // The codes of test numbers are shown nowhere.
        self.given.push(match name {
            "TEST_NUMBERS" => format!("{name}=…"),
            _ => format!("{name}={value}"),
        });
        Ok(())
    }
}

/// The answers of AWS in a file of `make probe`.
fn facts(name: &str, file: &dyn Fn(&str) -> Result<String, String>) -> Result<AllFacts, String> {
    AllFacts::parse(&file(name)?).map_err(|problem| {
        format!("FACTS: {name} is no file that make probe has written: {problem}.")
    })
}

/// Whether the text is a name or an address as in the `Host` header, but without a port.
fn is_host(text: &str) -> bool {
    let address = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.bytes().all(is_of_a_name),
    }
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// A problem of an argument. A wrong setting needs no usage, because it may come from `make run`.
fn with_usage(problem: &str) -> String {
    format!("{problem}\n\n{USAGE}")
}

fn port(argument: &str, value: &str) -> Result<u16, String> {
    value
        .parse()
        .map_err(|_| with_usage(&format!("{argument} is a number up to 65535, not {value}.")))
}

/// Reads `NAME=VALUE`, or `NAME` alone. If it is `NAME` alone, the value is in the environment, where make puts it.
fn setting(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, String), String> {
    if let Some((name, value)) = text.split_once('=') {
        return Ok((name.to_owned(), value.to_owned()));
    }
    let value = environment(text).ok_or_else(|| format!("{text} has no value."))?;
    Ok((text.to_owned(), value))
}

/// The settings in a file such as `desk.env`.
fn read_file(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut settings = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {number} is not NAME=VALUE."));
        };
        let value = value.trim();
        let inside = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = inside('"').or_else(|| inside('\'')).unwrap_or(value);
        let name = name.trim().to_owned();
        if settings.insert(name.clone(), value.to_owned()).is_some() {
            return Err(format!("{name} is there twice."));
        }
    }
    Ok(settings)
}

/// Names the settings that look like an unknown one.
fn unknown(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let words: Vec<_> = upper.split('_').filter(|word| word.len() > 2).collect();
    let looks_alike = |known: &&str| {
        let shared = known.split('_').filter(|word| {
            let stem = |word: &str| word.trim_end_matches('S').to_owned();
            words.iter().any(|own| stem(own) == stem(word))
        });
        shared.count() > 0
    };
    let known = SETTINGS.iter().map(|setting| setting.name);
    let near: Vec<_> = ["PROVIDER", "HOST", "BIND", "FACTS"]
        .into_iter()
        .chain(known.filter(|name| *name != "OTP_PROVIDER" && !OF_THE_DESK.contains(name)))
        .filter(looks_alike)
        .collect();
    let hint = if near.is_empty() {
        "docs/desk.md and docs/settings.md have all settings.".to_owned()
    } else {
        format!("Did you mean {}?", near.join(" or "))
    };
    format!("{name} is no setting of the desk. {hint}")
}

/// The value that the function gets for a setting if the person gave none.
pub(crate) fn of_the_desk(options: &Options, name: &str) -> Option<&'static str> {
    let is_pinpoint = options.provider == PINPOINT;
    let is_open = options.is_open();
    let has_notify = !is_pinpoint && options.has_notify();
    Some(match name {
        "PINPOINT_APPLICATION_ID" if is_pinpoint => "desk",
        // A Notify configuration sends no message by WhatsApp, and needs a list of countries and limits.
        "CHANNELS" if has_notify => "sms,voice",
        "CONFIG_FILE" if has_notify => NOTIFY_FILE,
        "ALLOWED_COUNTRIES" if has_notify => "CA,DE,ES,FR,GB,US",
        "SEND_LIMITS" if has_notify => "1/30s,2/90s,3/10m,10/24h",
        "WHATSAPP_TEMPLATE" | "BUDGETS" if has_notify => return None,
        // All channels of End User Messaging are on, so that people can try them.
        "CHANNELS" if !is_pinpoint => "sms,voice,whatsapp",
        "WHATSAPP_TEMPLATE" if !is_pinpoint => "verification_code",
        "MESSAGE_FEEDBACK" if !is_pinpoint => "on",
        "ORIGINATION_IDENTITY" => "+12065550100",
        "BRAND_NAME" => "ExampleCorp",
        // The open mode needs a list of countries, and limits.
        "ALLOWED_COUNTRIES" => {
            if is_open {
                "US"
            } else {
                "*"
            }
        }
        // Events of a load balancer have no principal, so the IAM mode would refuse them.
        "API_AUTH" => "trusted",
        // Half of the limits are for sign-ins. Each door then has the default limits.
        "SIGN_IN_SHARE" => "50",
        "SEND_LIMITS" => "1/30s,2/90s,3/10m,12/24h",
        // One person tries several numbers here, so the limits across numbers are off.
        "PREFIX_LIMITS" | "BUDGETS" if !is_open => "none",
        _ => return None,
    })
}
