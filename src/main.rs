//! The Lambda function: reads the settings, connects to AWS and hands the app to Lambda's runtime.

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use otp_lambda::app::{App, Invocation, InvokedAs};
use otp_lambda::aws;
use otp_lambda::phone::METADATA_VERSION;
use otp_lambda::settings::{self, Settings};
use otp_lambda::telemetry;
use serde_json::value::RawValue;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};
use tracing::level_filters::LevelFilter;
use tracing::{error, info};

fn main() -> ExitCode {
    if !settings::is_in_lambda() {
        telemetry::install(LevelFilter::INFO, None);
        error!(
            "This is the Lambda function. It runs in AWS Lambda or an emulator. On your own machine, use `make run`."
        );
        return ExitCode::FAILURE;
    }
    let settings = match Settings::from_environment() {
        Ok(settings) => settings,
        Err(problems) => {
            telemetry::install(LevelFilter::INFO, None);
            error!(problems = %problems, "The function does not start with these settings.");
            return ExitCode::FAILURE;
        }
    };
    telemetry::install(settings.log_level, settings.metrics.clone());
    settings::warn_of_ignored_variables();

    let outcome = runtime()
        .map_err(lambda_runtime::Error::from)
        .and_then(|runtime| runtime.block_on(serve(settings)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(cause = %error, "The runtime stopped.");
            ExitCode::FAILURE
        }
    }
}

/// The threads of the function.
///
/// Usually one thread is enough: an execution environment has one invocation at a time, and threads slow the start. On
/// Lambda Managed Instances, an execution environment has many invocations at once and at least one whole processor. The
/// function then has a thread for each processor.
fn runtime() -> std::io::Result<Runtime> {
    let mut runtime = if settings::invocations_at_once() > 1 {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    runtime.enable_all().build()
}

async fn serve(settings: Settings) -> Result<(), lambda_runtime::Error> {
    let http_client = aws::http_client(settings.ca_bundle.as_deref());
    let config = aws::config_loader(http_client.clone());
    let (config, credentials) = if settings::has_credentials_endpoint() {
        (
            aws::with_credentials_endpoint(config, http_client),
            "endpoint",
        )
    } else {
        (config, "variables")
    };
    let config = config.load().await;
    let app = App::build(settings, &config, None).await?;
    app.connect().await;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        libphonenumber = METADATA_VERSION,
        credentials,
        invocationsAtOnce = settings::invocations_at_once(),
        guessRisk = app.guess_chance(),
        "start"
    );
    // Every invocation uses the app, until the process ends.
    let app: &'static App = Box::leak(Box::new(app));
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let invocation = Invocation {
            deadline: event.context.deadline(),
            invoked_as: InvokedAs::read(&event.context.invoked_function_arn),
            request_id: event.context.request_id,
            trace: event.context.xray_trace_id,
        };
        app.handle(&event.payload, invocation)
            .await
            .map_err(|error| Diagnostic {
                error_type: error.kind.to_owned(),
                error_message: error.message.into_owned(),
            })
    });
    // One at a time, unless Lambda asks for more.
    lambda_runtime::Runtime::new(handler).run_concurrent().await
}
