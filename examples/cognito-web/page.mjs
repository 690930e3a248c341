// The page that signs people in, and up, with a code. pool.mjs speaks to Cognito.
//
// After a sign-in, the page dispatches the event `signed-in` on the document. Its detail has the tokens. The page keeps
// nothing: after a reload, people sign in anew, and the code on their phone still works.

import { claims, userPool } from './pool.mjs'

const setting = (name) => document.querySelector(`meta[name="${name}"]`)?.content.trim() ?? ''
const api = setting('otp-api').replace(/\/$/, '')
const pool = userPool({
  region: setting('cognito-region'), clientId: setting('cognito-client-id'), endpoint: setting('cognito-endpoint'),
})

/** What people read. Cognito does not say why an answer is not right, so the page cannot either. */
const words = {
  signIn: 'Sign in',
  signInIntro: 'We send a code to your phone. You need no password.',
  signUp: 'Create an account',
  signUpIntro: 'We send a code to your phone, to see that the number is yours.',
  sendCode: 'Send code',
  haveAccount: 'I have an account',
  working: 'One moment…',
  numberMissing: 'Enter your phone number with a plus and the country code, such as +1 425 555 0142.',
  codeMissing: 'Enter the code.',
  codeLength: (length) => `The code has ${length} characters.`,
  sent: (number) => `We sent a code to ${number}.`,
  adopted: (number) => `Enter the code that we sent to ${number}.`,
  sentAgain: 'We sent a new code.',
  notSentAgain: 'We cannot send a new code yet.',
  wrong: 'This code is not right.',
  ended: 'This code is no longer good. Start over.',
  attempts: (count) => `Attempts left: ${count}`,
  wait: (seconds) => `You can ask for a new code in ${seconds} seconds.`,
  waitToSignIn: (seconds) => `You can sign in in ${seconds} seconds.`,
  offline: 'There is no connection. Try again.',
  unexpected: 'That did not work. Try again.',
  NotAuthorizedException: 'This sign-in is over. Start over.',
  TooManyRequestsException: 'Too many people sign in at the moment. Try again.',
  UsernameExistsException: 'This number has an account. Sign in instead.',
  UserLambdaValidationException: 'The proof of your number is no longer good. Start over.',
  notPermitted: 'Nobody can sign up here. Ask for an account.',
  rate_limited: 'Too many codes were sent. Wait a little.',
  code_expired: 'The code has expired. Start over.',
  attempts_exhausted: 'This code has no attempts left. Start over.',
}

const at = (id) => document.getElementById(id)
let isSignUp = false
/** The number, and the sign-in's step or the verification's reference ID. */
let current
let resendFrom = 0
let isBusy = false

// ---- Steps of the page

function show(name, focus) {
  for (const other of ['number', 'code', 'done', 'ready']) at(`${other}-step`).hidden = other !== name
  focus.focus()
}

/** Shows what is wrong. The element has the role `alert`, so screen readers read it out. */
function complain(step, text, field) {
  at(`${step}-problem`).textContent = text
  for (const input of [at('number'), at('code')]) input.removeAttribute('aria-invalid')
  if (!text || !field) return
  field.setAttribute('aria-invalid', 'true')
  field.focus()
}

const meaning = (error) => {
  if (error.message.startsWith('SignUp is not permitted')) return words.notPermitted
  return words[error.name] ?? words.unexpected
}

/** Runs one piece of work at a time. */
async function busy(button, work) {
  if (isBusy) return
  isBusy = true
  button.setAttribute('aria-busy', 'true')
  at('news').textContent = words.working
  try {
    await work()
  } finally {
    isBusy = false
    button.removeAttribute('aria-busy')
    if (at('news').textContent === words.working) at('news').textContent = ''
  }
}

function chooseWay(signUp) {
  isSignUp = signUp
  at('number-title').textContent = isSignUp ? words.signUp : words.signIn
  at('number-intro').textContent = isSignUp ? words.signUpIntro : words.signInIntro
  at('send').textContent = isSignUp ? words.sendCode : words.signIn
  at('other-way').textContent = isSignUp ? words.haveAccount : words.signUp
  at('other-way').hidden = !api
  document.title = at('number-title').textContent
}

function startOver(problem = '') {
  current = undefined
  show('number', at('number'))
  complain('number', problem)
}

/** Shows the code field. */
function askForCode({ number, sentence, codeLength, attemptsLeft, resendAt }) {
  current.codeLength = Number(codeLength)
  resendFrom = resendAt
  at('sent-to').textContent = sentence(number)
  at('attempts').textContent = words.attempts(attemptsLeft)
  at('code').value = ''
  at('code').disabled = at('confirm').disabled = false
  complain('code', '')
  show('code', at('code'))
  at('news').textContent = at('sent-to').textContent
  tick()
}

function end(problem) {
  complain('code', problem)
  at('code').disabled = at('confirm').disabled = true
  at('attempts').textContent = ''
  tick()
  at('start-over').focus()
}

// ---- Sign in

async function beginSignIn(number) {
  current = { number }
  try {
    const step = await pool.begin(number)
    if (step.AuthenticationResult) return finish(step.AuthenticationResult)
    current.step = step
    const { destinationNumber, state, resendAt, ...more } = step.ChallengeParameters
    if (state === 'ended') return startOver(words.ended)
    askForCode({ ...more, number: destinationNumber, sentence: words[state] ?? words.sent, resendAt: Date.parse(resendAt) })
  } catch (error) {
    startOver(meaning(error))
  }
}

/** Gives a code or `resend` to the pool, which asks again unless the code is right. */
async function answer(text) {
  let step
  try {
    step = await pool.answer(current.number, current.step, text)
  } catch (error) {
    // After an answer that Cognito has taken, the session is used up. So there is no second try.
    return startOver(meaning(error))
  }
  if (step.AuthenticationResult) return finish(step.AuthenticationResult)
  current.step = step
  const { state, attemptsLeft, resendAt } = step.ChallengeParameters
  if (state === 'ended') return end(words.ended)
  at('attempts').textContent = words.attempts(attemptsLeft)
  const isLater = Date.parse(resendAt) > resendFrom
  resendFrom = Date.parse(resendAt)
  tick()
  if (text !== 'resend') {
    complain('code', words.wrong, at('code'))
    at('code').select()
    return
  }
  complain('code', '')
  at('news').textContent = isLater ? words.sentAgain : words.notSentAgain
  at('code').value = ''
  at('code').focus()
}

function finish({ IdToken, AccessToken, RefreshToken }) {
  at('signed-in-as').textContent = claims(IdToken).phone_number ?? ''
  show('done', at('done-title'))
  document.dispatchEvent(new CustomEvent('signed-in', { detail: { IdToken, AccessToken, RefreshToken } }))
}

// ---- Sign up

/** Calls the API of otp-lambda. */
async function callApi(operation, fields) {
  try {
    const response = await fetch(`${api}/otp/${operation}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(fields),
      signal: AbortSignal.timeout(35_000),
    })
    return { ok: response.ok, ...(await response.json()) }
  } catch {
    return { ok: false, code: 'offline' }
  }
}

async function beginSignUp(number) {
  const sent = await callApi('send', { destinationNumber: number })
  if (!sent.ok) return complain('number', words[sent.code] ?? sent.detail ?? words.unexpected, at('number'))
  const { referenceId, destinationNumber, codeLength, attemptsLeft, resendIn } = sent
  current = { number, referenceId }
  askForCode({
    number: destinationNumber, sentence: words.sent, codeLength, attemptsLeft, resendAt: Date.now() + resendIn * 1000,
  })
}

async function proveNumber(otp) {
  const { number, referenceId } = current
  const { ok, code, detail, attemptsLeft } = await callApi('verify', { destinationNumber: number, referenceId, otp })
  if (!ok) {
    if (attemptsLeft !== undefined) at('attempts').textContent = words.attempts(attemptsLeft)
    if (['code_expired', 'attempts_exhausted'].includes(code) || attemptsLeft === 0) {
      return end(words[code] ?? words.attempts_exhausted)
    }
    complain('code', code === 'invalid_code' ? words.wrong : words[code] ?? detail ?? words.unexpected, at('code'))
    return at('code').select()
  }
  try {
    await pool.signUp(number, referenceId)
  } catch (error) {
    return startOver(meaning(error))
  }
  show('ready', at('ready-title'))
  tick()
}

// ---- The forms

function sendNumber() {
  const number = at('number').value.replace(/[\s()./-]/g, '')
  if (!/^\+\d{7,15}$/.test(number)) return complain('number', words.numberMissing, at('number'))
  complain('number', '')
  busy(at('send'), () => (isSignUp ? beginSignUp(number) : beginSignIn(number)))
}

function sendCode() {
  const code = at('code').value.replace(/[\s-]/g, '')
  if (!code) return complain('code', words.codeMissing, at('code'))
  // Another length cannot be right, and would use up an attempt.
  if (code.length !== current.codeLength) return complain('code', words.codeLength(current.codeLength), at('code'))
  complain('code', '')
  busy(at('confirm'), () => (isSignUp ? proveNumber(code) : answer(code)))
}

function sendAgain() {
  busy(at('resend'), () => (isSignUp ? beginSignUp(current.number) : answer('resend')))
}

/** Counts the seconds until the next message may be sent. A message of a sign-up counts for the sign-in, too. */
function tick() {
  const seconds = Math.ceil((resendFrom - Date.now()) / 1000)
  const isOver = at('code').disabled
  at('countdown').textContent = seconds > 0 && !isOver ? words.wait(seconds) : ''
  at('resend').disabled = seconds > 0 || (isOver && !isSignUp)
  at('ready-wait').textContent = seconds > 0 ? words.waitToSignIn(seconds) : ''
  at('first-sign-in').disabled = seconds > 0
}

at('number-form').addEventListener('submit', (event) => { event.preventDefault(); sendNumber() })
at('code-form').addEventListener('submit', (event) => { event.preventDefault(); sendCode() })
at('other-way').addEventListener('click', () => { if (!isBusy) { chooseWay(!isSignUp); startOver() } })
at('resend').addEventListener('click', sendAgain)
for (const id of ['start-over', 'leave']) at(id).addEventListener('click', () => { if (!isBusy) startOver() })
at('first-sign-in').addEventListener('click', () => {
  const { number } = current
  chooseWay(false)
  busy(at('first-sign-in'), () => beginSignIn(number))
})
chooseWay(false)
setInterval(tick, 500)
document.documentElement.dataset.ready = ''
