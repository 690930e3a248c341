//! The shipped function on this machine: `make run` and `make invoke`.

use std::{
    collections::BTreeMap,
    fs, io,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use otp_lambda::{
    app::{App, Invocation, InvokedAs},
    aws,
    phone::PhoneNumber,
    policy::AllowedCountries,
    settings::Settings,
    telemetry,
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::runtime::Handle;

use crate::{
    Access, Call, Choices, MemoryLedger, Service, Simulator,
    facts::AllFacts,
    front::{Front, HandlerError, Rules},
    lines::{Lines, Log},
    notify::is_notify_configuration,
    options::of_the_desk,
    simulated_config,
    wire::random_id,
};

pub const PINPOINT: &str = "pinpoint";
pub const END_USER_MESSAGING: &str = "end-user-messaging";

/// The secret of the ledger. It protects nothing: the ledger is in this program's memory.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The number of the documentation. It is reserved for fiction.
const NUMBER: &str = "+14255550142";

/// The timeout of the deployed function.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The provider that `make run` simulates, and its other settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// [`PINPOINT`] or [`END_USER_MESSAGING`].
    pub provider: String,
    /// Settings of the function, in place of those of the desk.
    pub settings: BTreeMap<String, String>,
    pub access: Access,
    /// The behavior of AWS where its documentation leaves it open.
    pub facts: AllFacts,
    /// Whether the log is for people to read. Otherwise it has the lines of the deployed function.
    pub readable: bool,
}

impl Options {
    /// The desk's own settings.
    #[must_use]
    pub fn of(provider: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            settings: BTreeMap::new(),
            access: Access::default(),
            facts: AllFacts::default(),
            readable: false,
        }
    }

    /// Whether everyone may send and verify.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.settings
            .get("API_AUTH")
            .is_some_and(|auth| auth == "none")
    }

    /// Whether messages are sent by a Notify configuration, if the person names no others.
    #[must_use]
    pub(crate) fn has_notify(&self) -> bool {
        self.settings
            .get("ORIGINATION_IDENTITY")
            .is_some_and(|identity| is_notify_configuration(identity))
    }
}

/// The function behind a simulated API Gateway and with a simulated AWS. Its ledger is in memory.
#[derive(Debug)]
pub struct Local {
    pub simulator: Arc<Simulator>,
    pub front: Front,
    /// A number that the settings allow, for examples.
    pub number: String,
}

impl Local {
    /// Starts the simulated AWS on one listener and the API on the other.
    ///
    /// # Errors
    ///
    /// If a listener is on an address that the options do not allow, or the function does not start.
    pub async fn start(
        phone: TcpListener,
        api: TcpListener,
        options: &Options,
    ) -> io::Result<Self> {
        let simulator = Arc::new(Simulator::start_for(phone, options.access.clone())?);
        simulator.imitate(options.facts.clone());
        let ledger = MemoryLedger::new();
        let emptied = ledger.clone();
        simulator.also_reset(move || emptied.reset());
        if options.provider != PINPOINT {
            simulator.describe(Service::EndUserMessaging);
        }
        let lines = options.readable.then(Lines::default);
        // If the listener is on all addresses, this address reaches it, too.
        let endpoint = format!("http://127.0.0.1:{}", simulator.address.port());
        let endpoint = if simulator.address.ip().is_unspecified() {
            endpoint
        } else {
            simulator.url()
        };
        let of_http = settings(&endpoint, options, Door::Http)?;
        let of_pool = settings(&endpoint, options, Door::Pool)?;
        simulator.offer(Choices::of(&of_http));
        let number = number_for(&of_http.rules.allowed_countries);
        let has_sign_up = of_pool.sign_in.pre_sign_up;
        install_log(&of_http, Log::new(Arc::clone(&simulator), lines.clone()));
        let functions = Functions {
            http: Arc::new(Box::pin(function(of_http, &endpoint, ledger.clone())).await?),
            triggers: Arc::new(Box::pin(function(of_pool, &endpoint, ledger)).await?),
            phone: Arc::clone(&simulator),
            lines,
        };
        let (behind_pool, runtime) = (functions.clone(), Handle::current());
        simulator.open_pool(&number, has_sign_up, move |event| {
            // The simulator has a runtime of its own. The connections of the functions belong to this one. As on Lambda, a
            // function goes on if the pool does not wait for it any longer.
            let functions = behind_pool.clone();
            let running = runtime.spawn(async move { functions.handle(&event, random_id()).await });
            async move {
                running
                    .await
                    .unwrap_or_else(|_| Err("The function has panicked.".into()))
            }
        })?;
        let rules = Rules {
            // In the open mode nobody signs. If a request were signed, the service would take its caller for a backend.
            is_signed: !options.is_open(),
            access: options.access.clone(),
            ..Rules::default()
        };
        let front = Front::start(api, rules, move |event: Box<RawValue>, request_id| {
            let functions = functions.clone();
            async move { functions.handle(&event, request_id).await }
        })?;
        simulator.serve_at(front.address.port());
        Ok(Self {
            simulator,
            front,
            number,
        })
    }
}

/// The two functions of a stack with a user pool: one for HTTP and the operator, and one for the triggers. Both have the
/// same program and ledger.
#[derive(Clone)]
struct Functions {
    http: Arc<App>,
    triggers: Arc<App>,
    phone: Arc<Simulator>,
    lines: Option<Lines>,
}

impl Functions {
    async fn handle(&self, event: &RawValue, request_id: String) -> Result<Value, HandlerError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct OfPool {
            #[serde(rename = "triggerSource")]
            _trigger_source: String,
        }
        let app = if serde_json::from_str::<OfPool>(event.get()).is_ok() {
            &self.triggers
        } else {
            &self.http
        };
        // The function takes its time from the phone's clock. If that clock is moved, the time of both moves.
        let now = self.phone.now();
        let started = Instant::now();
        let invocation = Invocation {
            invoked_as: InvokedAs::Itself,
            request_id: request_id.clone(),
            trace: None,
            deadline: now + TIME_LIMIT,
        };
        let result = app.handle_at(now, event, invocation).await;
        let result = result.map_err(|error| HandlerError {
            kind: error.kind.to_owned(),
            message: error.message.into_owned(),
        });
        let result = result.and_then(|result| {
            serde_json::from_str(result.get()).map_err(|_| "The result is not JSON.".into())
        });
        let call = Call::of(event, &result, now, started.elapsed());
        if let Some(lines) = &self.lines {
            lines.write_call(&call, &request_id);
        }
        self.phone.record_call(call);
        result
    }
}

/// A number for examples: the one of the documentation, or one of the first allowed country. Messages to this number go
/// only to the simulator.
fn number_for(allowed: &AllowedCountries) -> String {
    let countries = match allowed {
        AllowedCountries::Only(countries) if !countries.iter().any(|own| own.as_str() == "US") => {
            countries.as_slice()
        }
        _ => &[],
    };
    let mut made_up = countries
        .iter()
        .filter_map(|country| PhoneNumber::stand_in(*country, [0; 16]));
    made_up
        .next()
        .map_or_else(|| NUMBER.to_owned(), |number| number.expose().to_owned())
}

/// A function of the stack, by the events that it gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Http,
    Pool,
}

/// The settings of a function: those of the person, and otherwise those of the desk.
fn settings(phone: &str, options: &Options, door: Door) -> io::Result<Settings> {
    let has_countries = has_countries(options);
    // The triggers handle sign-ups, as in a stack with `CognitoPreSignUp`. Such a stack has random reference IDs. On the
    // desk, the function behind HTTP may have others, so that its first commands stay short.
    let given = options.settings.get("REFERENCE_ID");
    let is_random = given.is_none_or(|given| given == "random");
    let has_sign_up =
        door == Door::Pool && !options.settings.contains_key("COGNITO_PRE_SIGN_UP") && is_random;
    Settings::read(&|name| {
        let own = match name {
            "OTP_PROVIDER" => options.provider.as_str(),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "desk",
            "AWS_REGION" => "us-east-1",
            "AWS_ENDPOINT_URL" => phone,
            "LEDGER_TABLE" => "in-memory",
            "LEDGER_KEY" => KEY,
            "COGNITO_PRE_SIGN_UP" if has_sign_up => "on",
            "REFERENCE_ID" if has_sign_up => "random",
            _ => match options.settings.get(name) {
                Some(given) => given,
                None if name == "ALLOWED_COUNTRIES" && has_countries => return None,
                None => of_the_desk(options, name)?,
            },
        };
        Some(own.to_owned())
    })
    .map_err(io::Error::other)
}

/// Whether the person's file lists countries. The desk's own setting would add every country to this list.
fn has_countries(options: &Options) -> bool {
    let file = options.settings.get("CONFIG_FILE");
    let content = file.and_then(|path| fs::read(path).ok());
    // The function reports a file that cannot be read.
    let content: Option<Value> = content.and_then(|content| serde_json::from_slice(&content).ok());
    content.is_some_and(|content| {
        content
            .get("allowedCountries")
            .and_then(Value::as_array)
            .is_some_and(|countries| !countries.is_empty())
    })
}

fn install_log(settings: &Settings, log: Log) {
    let metrics = settings.metrics.clone();
    telemetry::install_to(settings.log_level, metrics, move || log.clone());
}

/// The shipped function.
async fn function(settings: Settings, phone: &str, ledger: MemoryLedger) -> io::Result<App> {
    let config = simulated_config(aws::http_client(None))
        .endpoint_url(phone)
        .load()
        .await;
    // Only the ledger is not the shipped one: it is in this program's memory.
    App::build(settings, &config, Some(Box::new(ledger)))
        .await
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use otp_lambda::phone::Country;

    #[test]
    fn every_country_with_mobile_numbers_has_an_example() {
        let mut without = Vec::new();
        for country in Country::all() {
            let allowed = AllowedCountries::Only(vec![country]);
            let number = PhoneNumber::parse(&number_for(&allowed)).unwrap();
            if allowed.check(number.country()).is_err() {
                without.push(country.as_str().to_owned());
            }
        }
        // The mobile numbers of these territories are known as those of another country.
        let without_own = ["AX", "BL", "CC", "CX", "EH", "MF", "SJ", "TA", "VA"];
        assert_eq!(without, without_own);
        assert_eq!(number_for(&AllowedCountries::Any), NUMBER);
        let with_us = AllowedCountries::parse("FR,US,DE").unwrap();
        assert_eq!(number_for(&with_us), NUMBER);
    }
}
