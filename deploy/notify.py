"""Makes or shows a Notify configuration, the sender of AWS End User Messaging that needs no number of yours: `make notify`.

    notify.py                  lists the Notify configurations of the account, and shows the only one in full
    notify.py --brand=BRAND    makes one with this display name, unless there is one with this name, and shows it
    notify.py --id=ID          shows the one with this ID or ARN

CHANNELS are the channels of a new one: `sms` (the default), `voice` or `sms,voice`. COUNTRIES are its countries, such as `US,CA`;
without them, all countries of the basic tier. CONFIRM=BRAND confirms without a terminal. Region and credentials are those of
the AWS CLI.
"""

import json
import os
import re
import sys
import textwrap
import time

import boto3
import botocore.exceptions
from botocore.config import Config

# AWS takes one such request a second.
CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 4})

# For how many seconds AWS may review a display name. AWS says that most reviews end within seconds.
PATIENCE = 60

CHANNELS = {"sms": "SMS", "voice": "VOICE"}
DISPLAY_NAME = re.compile("[A-Za-z0-9_ -]{1,15}")
# As the function takes it (src/aws/notify.rs).
ID = re.compile("arn:[^:]*:sms-voice:[^:]*:[^:]*:notify-configuration/.*|(?=.{12})(nc|notify)-.*")

TIERS = {
    "BASIC": "BASIC: 200 messages a day, 1 a second, 10 a day to one number",
    "ADVANCED": "ADVANCED: 25 messages a second, 10 a day to one number",
}

# The next step for each status.
NEXT = {
    "ACTIVE": "It can send.",
    "PENDING": "AWS still reviews the display name. Look again in some minutes: make notify ID={id}",
    "REJECTED": "AWS has rejected the display name{reason}. Make one with another name, or open a case at AWS Support.",
    "REQUIRES_VERIFICATION": "AWS wants proof that you may use the display name: open a case at AWS Support.",
}

# The sentence for each refusal that has a reason of AWS.
REFUSED = {
    "INSUFFICIENT_ACCOUNT_REPUTATION": "AWS does not let this account use Notify yet, because the account is too new or has had "
    "problems. Open a case at AWS Support, or register a number of your own.",
    "ACCOUNT_DISABLED": "AWS has disabled this account for messages. Open a case at AWS Support.",
    "NOTIFY_CONFIGURATIONS_PER_ACCOUNT": "The account has as many Notify configurations as AWS allows. Delete one, or ask AWS for "
    "more in Service Quotas.",
}

PERMISSIONS = (
    "sms-voice:CreateNotifyConfiguration, DescribeNotifyConfigurations, DescribeNotifyTemplates, ListNotifyCountries and "
    "DescribeSpendLimits"
)


class Stop(Exception):
    """A sentence for the person who runs the command."""


def say(text=""):
    print(text, flush=True)


def wrapped(label, text):
    return textwrap.fill(text, 100, initial_indent=f"  {label:<14}", subsequent_indent=" " * 16)


def pages(operation, member, **arguments):
    """All entries of an operation with pages."""
    found, token = [], {}
    while True:
        page = operation(**arguments, **token)
        found += page.get(member, [])
        if not page.get("NextToken"):
            return found
        token = {"NextToken": page["NextToken"]}


# --- AWS ------------------------------------------------------------------------------------------------------------


def all_of(client):
    return pages(client.describe_notify_configurations, "NotifyConfigurations")


def known_form(identifier):
    if not ID.fullmatch(identifier):
        raise Stop(
            f"{identifier} is neither the ID nor the ARN of a Notify configuration. An ID begins with nc- or notify- and has more "
            "than 11 characters."
        )
    return identifier


def one_of(client, identifier):
    (found,) = client.describe_notify_configurations(NotifyConfigurationIds=[identifier])["NotifyConfigurations"]
    return found


def wanted_channels():
    names = [it.strip() for it in (os.environ.get("CHANNELS") or "sms").split(",")]
    if not all(name in CHANNELS for name in names) or len(set(names)) < len(names):
        raise Stop("CHANNELS must be sms, voice or sms,voice. A Notify configuration sends nothing else.")
    return [CHANNELS[name] for name in names]


def countries_of(client, tier, channels):
    """The countries that AWS serves without a pool of yours, by AWS's own list."""
    known = pages(client.list_notify_countries, "NotifyCountries", Tier=tier, Channels=channels)
    return sorted(it["IsoCountryCode"] for it in known if not it["CustomerOwnedIdentityRequired"])


def wanted_countries(client, channels):
    """The countries of a new configuration."""
    given = [it.strip() for it in os.environ.get("COUNTRIES", "").split(",") if it.strip()]
    served = countries_of(client, "BASIC", channels)
    if unserved := sorted(set(given) - set(served)):
        raise Stop(
            f"The basic tier of Notify does not send to {', '.join(unserved)} by these channels. It sends to {', '.join(served)}."
        )
    return sorted(given) or served


def create(client, name):
    """Makes a configuration after a confirmation, and waits until AWS has reviewed its name."""
    if not DISPLAY_NAME.fullmatch(name) or not name.strip():
        raise Stop("The display name must have 1 to 15 letters, digits, blanks, dashes and underscores. It stands in each text.")
    if known := [it for it in all_of(client) if it["DisplayName"] == name]:
        say(f"There is a Notify configuration with the display name {name} already. Nothing was made.")
        return known[0]
    channels = wanted_channels()
    countries = wanted_countries(client, channels)
    say(f"This makes a Notify configuration in {client.meta.region_name}. It costs nothing until it sends:\n")
    say(wrapped("display name", name))
    say(wrapped("channels", ", ".join(channels)))
    say(wrapped("countries", ", ".join(countries)))
    confirmed = os.environ.get("CONFIRM")
    if not confirmed and sys.stdin.isatty():
        confirmed = name if ask("\nMake it? [y/N] ").lower() in ("y", "yes") else ""
    if confirmed != name:
        raise Stop(f'Nothing was made. Without a terminal, confirm with CONFIRM="{name}".')
    made = client.create_notify_configuration(
        DisplayName=name, UseCase="CODE_VERIFICATION", EnabledChannels=channels, EnabledCountries=countries
    )
    say(f"\nMade {made['NotifyConfigurationId']}. AWS reviews the display name …")
    end = time.monotonic() + PATIENCE
    while made["Status"] == "PENDING" and time.monotonic() < end:
        time.sleep(float(os.environ.get("OTP_NOTIFY_PAUSE") or 2))
        made = one_of(client, made["NotifyConfigurationArn"])
    return made


def ask(question):
    try:
        return input(question).strip()
    except EOFError:
        return ""


def spending_limit(client):
    """The limit in words, or None if AWS does not tell it."""
    limits = pages(client.describe_spend_limits, "SpendLimits")
    for it in limits:
        if it["Name"] == "NOTIFY_MESSAGE_MONTHLY_SPEND_LIMIT":
            return f"{it['EnforcedLimit']} dollars a month for Notify, in this region"
    return None


# --- words ----------------------------------------------------------------------------------------------------------


def show(client, it):
    say(f"\n{it['NotifyConfigurationArn']}\n")
    reason = f": {it['RejectionReason'].rstrip('.')}" if it.get("RejectionReason") else ""
    next_step = NEXT[it["Status"]].format(id=it["NotifyConfigurationId"], reason=reason)
    upgrade = {"PENDING_UPGRADE": ". AWS checks your request for the advanced tier", "REJECTED": ". AWS has refused the advanced tier"}
    listed = sorted(it.get("EnabledCountries") or [])
    # Without a list, a configuration has all countries of its tier.
    countries = listed or countries_of(client, it["Tier"], it["EnabledChannels"])
    for label, text in (
        ("display name", it["DisplayName"]),
        ("status", f"{it['Status']}. {next_step}"),
        ("tier", TIERS[it["Tier"]] + upgrade.get(it["TierUpgradeStatus"], "")),
        ("channels", ", ".join(sorted(it["EnabledChannels"], key=list(CHANNELS.values()).index))),
        ("countries", ", ".join(listed) or "all of its tier"),
        ("spending", spending_limit(client)),
        ("own pool", it.get("PoolId")),
    ):
        if text:
            say(wrapped(label, text))
    templates = templates_for(client, it, countries)
    say("\nTemplates that it can send:\n")
    for template in templates:
        say(f"  {template['TemplateId']}")
        kinds = [", ".join(template["Channels"]), template.get("LanguageCode", ""), *code_limits(template)]
        kinds += [] if covers(template, countries) else [f"only to {', '.join(sorted(template['SupportedCountries']))}"]
        say(f"    {'; '.join(part for part in kinds if part)}: {template.get('Content', '')}")
    if not templates:
        say("  none")
    say_settings(it, countries, templates)
    return 0 if it["Status"] == "ACTIVE" and templates else 2


def templates_for(client, it, countries):
    """The active templates of its tier, channels and countries, the widest first."""
    found = pages(client.describe_notify_templates, "NotifyTemplates", Filters=[{"Name": "tier-access", "Values": [it["Tier"]]}])
    fits = [
        template
        for template in found
        if template.get("Status", "ACTIVE") == "ACTIVE"
        and set(template["Channels"]) & set(it["EnabledChannels"])
        and (not template.get("SupportedCountries") or set(template["SupportedCountries"]) & set(countries))
    ]
    return sorted(fits, key=lambda template: (not covers(template, countries), template["TemplateId"]))


def covers(template, countries):
    supported = template.get("SupportedCountries")
    return not supported or (bool(countries) and set(countries) <= set(supported))


def code_limits(template):
    """Limits of a template on the code, in words."""
    code = template.get("Variables", {}).get("code", {})
    longest = code.get("MaxLength")
    if longest is not None and longest < 8:
        yield f"codes of at most {longest} characters"
    if code.get("Type") == "INTEGER":
        yield "codes of digits"


def chosen(it, countries, templates):
    """A template for each language and channel: {"en": {"sms": ID}}.

    The function chooses a template by its language, and not by the country. So each must be for all countries."""
    found = {}
    for template in [it for it in templates if covers(it, countries)] or templates:
        for name, channel in CHANNELS.items():
            if channel in template["Channels"] and channel in it["EnabledChannels"] and template.get("LanguageCode"):
                found.setdefault(template["LanguageCode"], {}).setdefault(name, template["TemplateId"])
    return dict(sorted(found.items()))


def say_settings(it, countries, templates):
    by_language = chosen(it, countries, templates)
    channels = [name for name, channel in CHANNELS.items() if channel in it["EnabledChannels"]]
    arn = it["NotifyConfigurationArn"]
    settings = {
        "Provider": "end-user-messaging",
        "BrandName": it["DisplayName"],
        "AllowedCountries": ",".join(countries),
        "OriginationIdentity": arn,
        "SmsOriginationArns": arn if "sms" in channels else "",
        "VoiceOriginationArns": arn if "voice" in channels else "",
        "Channels": ",".join(channels),
    }
    if by_language and not any(language.startswith("en") for language in by_language):
        settings["Language"] = next(iter(by_language))
    say("\nWrite this into your settings file. Leave countries out that you do not serve:\n")
    for name, value in settings.items():
        say(f"  {name}: {json.dumps(value)}")
    notify = {"templates": by_language, "countries": countries}
    if it["Tier"] == "ADVANCED":
        notify = {"tier": "advanced", **notify}
    say("\nAnd this into config/otp-lambda.json, beside what is there:\n")
    say(textwrap.indent('"notify": ' + as_json(notify), "  "))


def as_json(notify):
    """Short lines: a language or a list on each."""
    text = json.dumps(notify, indent=2)
    lists = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
    text = lists.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text)
    objects = re.compile(r"\{\s+([^\[\]{}]*?)\s+\}")
    return objects.sub(lambda found: "{ " + " ".join(found[1].split()) + " }", text)


def show_all(client):
    found = all_of(client)
    if not found:
        say(f"There is no Notify configuration in {client.meta.region_name}. To make one: make notify BRAND=YourBrand")
        say("YourBrand is the display name that stands in each text, at most 15 characters.")
        return 2
    if len(found) == 1:
        return show(client, found[0])
    for it in found:
        say(f"{it['NotifyConfigurationId']}  {it['DisplayName']}  {it['Status']}  {it['Tier']}")
    say("\nTo see one in full: make notify ID=…. To make one: make notify BRAND=…")
    return 0


def in_words(error):
    reason = error.response.get("Reason")
    name = error.response["Error"]["Code"]
    if reason in REFUSED:
        return REFUSED[reason]
    if name == "ResourceNotFoundException":
        return "There is no such Notify configuration in this region and account. To list them: make notify"
    if name == "AccessDeniedException":
        return f"AWS: {error}\nThis command needs the permissions {PERMISSIONS}."
    return f"AWS: {error}"


def main(arguments):
    client = None
    try:
        client = boto3.client("pinpoint-sms-voice-v2", config=CONFIG)
        given = dict(it.split("=", 1) for it in arguments if it.startswith(("--brand=", "--id=")))
        if len(given) < len(arguments):
            raise Stop(__doc__)
        if len(given) == 2:
            raise Stop("BRAND makes a Notify configuration, and ID shows one. Give one of them. An exported variable counts, too.")
        match given:
            case {"--brand": brand}:
                return show(client, create(client, brand))
            case {"--id": identifier}:
                return show(client, one_of(client, known_form(identifier)))
            case _:
                return show_all(client)
    except Stop as stop:
        print(f"\n{stop}", file=sys.stderr)
    except botocore.exceptions.ClientError as error:
        print(f"\n{in_words(error)}", file=sys.stderr)
    except botocore.exceptions.BotoCoreError as error:
        print(f"\nAWS: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
