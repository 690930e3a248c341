//! The Lambda function: reads the settings, connects to AWS and hands the app to Lambda's runtime.

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use otp_lambda::app::{App, Invocation, InvokedAs};
use otp_lambda::aws;
use otp_lambda::phone::METADATA_VERSION;
use otp_lambda::settings::{self, Settings};
use otp_lambda::telemetry;
use serde_json::value::RawValue;
use std::process::ExitCode;
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

    // One thread is enough: an execution environment has one invocation at a time, and threads slow the start.
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
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

async fn serve(settings: Settings) -> Result<(), lambda_runtime::Error> {
    let http_client = aws::http_client(settings.ca_bundle.as_deref());
    let config = aws::config_loader(http_client).load().await;
    let app = App::build(settings, &config, None).await?;
    app.connect().await;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        libphonenumber = METADATA_VERSION,
        "start"
    );
    let app = &app;
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let invocation = Invocation {
            deadline: event.context.deadline(),
            invoked_as: InvokedAs::read(&event.context.invoked_function_arn),
            request_id: event.context.request_id,
        };
        app.handle(&event.payload, invocation)
            .await
            .map_err(|error| Diagnostic {
                error_type: error.kind.to_owned(),
                error_message: error.message.into_owned(),
            })
    });
    lambda_runtime::Runtime::new(handler).run().await
}
