//! The methods of the ledger, listed once for all code that this crate generates from them.

/// Calls the macro `$define` with all methods of [`Ledger`](otp_lambda::ledger::Ledger). For each method, `$define`
/// gets the variant of [`Step`](crate::layer::Step), the name, each argument in parentheses, and the return type.
macro_rules! with_steps {
    ($define:ident) => {
        $define! {
            Switches = switches -> Switches;
            Count = count(item: &ItemName)(cap: u64)(expires: Millis) -> bool;
            Counted = counted(item: &ItemName) -> u64;
            Uncount = uncount(item: &ItemName) -> ();
            Spend = spend(spending: &Spending) -> SpendOutcome;
            Spent = spent(spending: &Spending) -> Vec<u64>;
            Refund = refund(spending: &Spending) -> ();
            ReserveKey = reserve_key(item: &ItemName)(holder: Holder)(fingerprint: &Fingerprint)(now: Millis) -> KeyReservation;
            ReleaseKey = release_key(item: &ItemName)(holder: Holder) -> ();
            FinishKey = finish_key(item: &ItemName)(holder: Holder)(response: Option<&str>) -> ();
            Number = number(item: &ItemName) -> Number;
            ReserveSend = reserve_send(item: &ItemName)(windows: &[SendWindow])(now: Millis) -> Reservation;
            ChargeNumber = charge_number(item: &ItemName)(lock: u32)(now: Millis) -> NumberCharge;
            ClearFailures = clear_failures(item: &ItemName)(charge: Charge)(now: Millis) -> ();
            Unlock = unlock(item: &ItemName)(now: Millis) -> ();
            RememberDevice = remember_device(item: &ItemName)(expires: Millis) -> ();
            KnowsDevice = knows_device(item: &ItemName)(now: Millis) -> bool;
            Verification = verification(item: &ItemName) -> Option<Verification>;
            Open = open(item: &ItemName)(seen: Option<u64>)(new: &Opening<'_>) -> bool;
            Reopen = reopen(item: &ItemName)(seen: Seen)(resend: &Resend<'_>) -> bool;
            Settle = settle(item: &ItemName)(generation: u64)(holder: Holder)(outcome: &Settled<'_>) -> ();
            SpendAttempt = spend_attempt(item: &ItemName)(guess: &CodeDigest)(question: Option<&Question>)(now: Millis)
                -> Attempt;
            NoteAnswer = note_answer(item: &ItemName)(generation: u64)(guess: &CodeDigest)(outcome: GuessOutcome) -> ();
            Consume = consume(item: &ItemName)(generation: u64)(success: &Success)(used_until: Option<Millis>)
                -> Transition;
            Cancel = cancel(item: &ItemName)(generation: u64)(now: Millis) -> Transition;
            Redeem = redeem(item: &ItemName)(generation: u64)(redeemer: &Redeemer)(now: Millis) -> Transition;
        }
    };
}

pub(crate) use with_steps;
