// The page that verifies a phone number. It calls the API of otp-lambda as a public caller (API_AUTH=none). With one more
// header in `post` it calls the API as a user (ApiAuth: "jwt"): docs/web-page.md says how.
//
// When a number is verified, the page dispatches the event `otp-verified` on the document. Its detail has the
// `destinationNumber` and the `referenceId` that your backend needs to redeem the success. Do not believe the page alone.

const languages = ['en', 'ar', 'de', 'es', 'fr', 'it', 'ja', 'ko', 'nl', 'pt', 'zh']
const rightToLeft = new Set(['ar'])

// A country and its calling code. A test compares the table with libphonenumber's.
const callingCodes = Object.fromEntries(`
AC247 AD376 AE971 AF93 AG1 AI1 AL355 AM374 AO244 AR54 AS1 AT43 AU61 AW297 AZ994 BA387 BB1 BD880 BE32 BF226 BG359
BH973 BI257 BJ229 BM1 BN673 BO591 BQ599 BR55 BS1 BT975 BW267 BY375 BZ501 CA1 CD243 CF236 CG242 CH41 CI225 CK682
CL56 CM237 CN86 CO57 CR506 CU53 CV238 CW599 CY357 CZ420 DE49 DJ253 DK45 DM1 DO1 DZ213 EC593 EE372 EG20 ER291
ES34 ET251 FI358 FJ679 FK500 FM691 FO298 FR33 GA241 GB44 GD1 GE995 GF594 GG44 GH233 GI350 GL299 GM220 GN224
GP590 GQ240 GR30 GT502 GU1 GW245 GY592 HK852 HN504 HR385 HT509 HU36 ID62 IE353 IL972 IM44 IN91 IO246 IQ964 IR98
IS354 IT39 JE44 JM1 JO962 JP81 KE254 KG996 KH855 KI686 KM269 KN1 KP850 KR82 KW965 KY1 KZ7 LA856 LB961 LC1 LI423
LK94 LR231 LS266 LT370 LU352 LV371 LY218 MA212 MC377 MD373 ME382 MG261 MH692 MK389 ML223 MM95 MN976 MO853 MP1
MQ596 MR222 MS1 MT356 MU230 MV960 MW265 MX52 MY60 MZ258 NA264 NC687 NE227 NF672 NG234 NI505 NL31 NO47 NP977
NR674 NU683 NZ64 OM968 PA507 PE51 PF689 PG675 PH63 PK92 PL48 PM508 PR1 PS970 PT351 PW680 PY595 QA974 RE262 RO40
RS381 RU7 RW250 SA966 SB677 SC248 SD249 SE46 SG65 SH290 SI386 SK421 SL232 SM378 SN221 SO252 SR597 SS211 ST239
SV503 SX1 SY963 SZ268 TC1 TD235 TG228 TH66 TJ992 TK690 TL670 TM993 TN216 TO676 TR90 TT1 TV688 TW886 TZ255 UA380
UG256 US1 UY598 UZ998 VC1 VE58 VG1 VI1 VN84 VU678 WF681 WS685 XK383 YE967 YT262 ZA27 ZM260 ZW263
`.trim().split(/\s+/).map((entry) => [entry.slice(0, 2), entry.slice(2)]))

// In these countries a zero at the beginning belongs to the international number. Elsewhere it is for domestic calls.
const zeroStays = new Set(['BF', 'BJ', 'CG', 'CI', 'IT', 'SM', 'TJ'])
const domesticPrefixes = { 1: '1', 7: '8', 36: '06' }

// After these errors, no guess at the code can succeed.
const endings = new Set([
  'already_verified', 'attempts_exhausted', 'code_expired', 'verification_canceled', 'verification_not_found',
])

const at = (id) => document.getElementById(id)
const setting = (name) => document.querySelector(`meta[name="otp-${name}"]`)?.content.trim() ?? ''
const api = setting('api').replace(/\/$/, '')
const channels = setting('channels').split(',').map((channel) => channel.trim()).filter(Boolean)

let words
let language
/** The verification: its number, reference, channel and length of code, and when the next message may be sent. */
let verification
let isBusy = false
let waitingForText
/** The key of the last request that the function did not answer, so that the same request can be repeated safely. */
let unanswered = {}
/** The length of the code field before the newest input. After a refusal, the next input replaces the whole code. */
let lengthBefore = 0

// ---- Words

const say = (word, values = {}) => words[word].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '')

function duration(seconds) {
  const [amount, unit] = seconds < 120 ? [seconds, 'second'] : seconds < 7200 ? [Math.ceil(seconds / 60), 'minute']
    : [Math.ceil(seconds / 3600), 'hour']
  return new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(amount)
}

/** A refusal in a person's words. */
function sentences({ code, field, retryAfter, delivery }, status) {
  const gateway = { 0: 'offline', 401: 'signIn', 429: 'throttled' }
  const own = code === 'invalid_parameter' && field === 'otp' && say('codeLength', { count: verification.codeLength })
  const all = [own || words.errors[code] || words[gateway[status] ?? 'unexpected']]
  if (delivery === 'unknown') all.push(words.deliveryUnknown)
  if (retryAfter) all.push(say('wait', { wait: duration(retryAfter) }))
  return all.join(' ')
}

async function loadWords() {
  const asked = new URLSearchParams(location.search).get('lang')
  const wanted = [asked, ...navigator.languages].filter(Boolean).map((tag) => tag.split('-')[0].toLowerCase())
  language = wanted.find((tag) => languages.includes(tag)) ?? 'en'
  words = await (await fetch(new URL(`messages/${language}.json`, import.meta.url))).json()
  document.documentElement.lang = language
  document.documentElement.dir = rightToLeft.has(language) ? 'rtl' : 'ltr'
  document.title = words.numberTitle
  for (const element of document.querySelectorAll('[data-words]')) element.textContent = words[element.dataset.words]
}

// ---- The form

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}

function listCountries() {
  const setCountries = setting('countries')
  const codes = setCountries === '*' ? Object.keys(callingCodes) : setCountries.split(',').map((code) => code.trim())
  const names = new Intl.DisplayNames(language, { type: 'region' })
  const known = codes.filter((code) => callingCodes[code]).map((code) => [names.of(code), code])
  known.sort(([one], [other]) => one.localeCompare(other, language))
  at('country').replaceChildren(...known.map(([name, code]) =>
    make('option', { value: code }, `${name} (\u2066+${callingCodes[code]}\u2069)`)))
  const here = navigator.languages.map((tag) => new Intl.Locale(tag).maximize().region)
  at('country').value = [...here, 'US'].find((code) => known.some(([, own]) => own === code)) ?? known[0]?.[1]
}

function listChannels() {
  at('channels').hidden = channels.length < 2
  at('channels').querySelector('.choices').replaceChildren(...channels.map((channel, index) =>
    make('label', {}, make('input', { type: 'radio', name: 'channel', value: channel, checked: index === 0 }), words[channel])))
  at('resend').replaceChildren(...channels.map((channel) => {
    const button = make('button', { type: 'button' }, words[`resend_${channel}`])
    button.addEventListener('click', () => resend(channel))
    return button
  }))
}

/** A number as people type it, with its calling code. The service reads spaces, dashes and digits of every script. */
export function international(typed, country) {
  const text = typed.trim()
  if (/^[(\s]*[+＋]/.test(text)) return text.replace(/^[(\s]+/, '')
  if (/^00/.test(text)) return `+${text.slice(2)}`
  const code = callingCodes[country]
  const prefix = domesticPrefixes[code] ?? '[0٠۰０]'
  const national = zeroStays.has(country) ? text : text.replace(new RegExp(`^([(\\s]*)${prefix}`), '$1')
  return `+${code} ${national}`
}

/** Shows a step and moves the focus there. */
function show(step, focus) {
  for (const other of ['number', 'code', 'done']) at(`${other}-step`).hidden = other !== step
  focus.focus()
}

/** Shows what is wrong, and marks the field. The element has the role `alert`, so screen readers read it out. */
function complain(step, text, field) {
  at(`${step}-problem`).textContent = text
  for (const input of [at('number'), at('code')]) input.removeAttribute('aria-invalid')
  if (text) field?.setAttribute('aria-invalid', 'true')
}

// ---- Requests

/** A key that cannot be guessed. `crypto.randomUUID` exists at secure origins alone. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Makes one request at a time. Status 0 means that no response came. */
async function post(operation, fields, button) {
  const request = JSON.stringify([operation, fields])
  const key = unanswered.request === request ? unanswered.key : newKey()
  isBusy = true
  button.setAttribute('aria-busy', 'true')
  at('news').textContent = words.working
  try {
    const response = await fetch(`${api}/otp/${operation}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify(fields),
      signal: AbortSignal.timeout(35_000),
    })
    const body = await response.json()
    // API Gateway answers without an error code if the function did not. A message may have been sent.
    unanswered = response.ok || body.code ? {} : { request, key }
    return { ok: response.ok, status: response.status, body }
  } catch {
    unanswered = { request, key }
    return { ok: false, status: 0, body: {} }
  } finally {
    isBusy = false
    button.removeAttribute('aria-busy')
    at('news').textContent = ''
  }
}

async function requestCode(destinationNumber, channel, button) {
  const fields = { destinationNumber, ...(channels.length > 1 && { channel }) }
  const answer = await post('send', { ...fields, language: words.tag }, button)
  // Not every provider has every language.
  return answer.body.field === 'language' ? post('send', fields, button) : answer
}

/** Begins, or goes on with, a verification whose message was sent. */
function begin(destinationNumber, { referenceId, channel, codeLength, attemptsLeft, resendIn, ...sent }) {
  verification = { destinationNumber, referenceId, channel, codeLength, resendFrom: Date.now() + resendIn * 1000 }
  const shown = `\u2066${sent.destinationNumber}\u2069`
  at('sent-to').textContent = say(`sent_${channel}`, { number: shown })
  at('verified-number').textContent = sent.destinationNumber
  at('code').value = ''
  lengthBefore = 0
  at('code').disabled = at('verify').disabled = false
  complain('code', '')
  showAttempts(attemptsLeft)
  show('code', at('code'))
  at('news').textContent = at('sent-to').textContent
  tick()
  readText()
}

function showAttempts(count) {
  if (count !== undefined) at('attempts').textContent = say('attemptsLeft', { count: new Intl.NumberFormat(language).format(count) })
}

async function send() {
  if (isBusy) return
  if (!at('number').value.trim()) return refuseNumber(words.numberMissing)
  const destinationNumber = international(at('number').value, at('country').value)
  const channel = document.querySelector('[name=channel]:checked')?.value
  complain('number', '')
  const { ok, status, body } = await requestCode(destinationNumber, channel, at('send'))
  if (ok) return begin(destinationNumber, body)
  refuseNumber(sentences(body, status), body.field === 'destinationNumber')
}

function refuseNumber(text, isAboutNumber = true) {
  complain('number', text, isAboutNumber ? at('number') : undefined)
  if (isAboutNumber) at('number').focus()
}

async function resend(channel) {
  if (isBusy) return
  const { destinationNumber } = verification
  const button = at('resend').children[channels.indexOf(channel)]
  complain('code', '')
  const { ok, status, body } = await requestCode(destinationNumber, channel, button)
  if (ok) return begin(destinationNumber, body)
  complain('code', sentences(body, status))
  if (body.retryAfter) verification.resendFrom = Date.now() + body.retryAfter * 1000
  tick()
  // A disabled button would lose the focus.
  if (button.disabled) (at('code').disabled ? at('code-title') : at('code')).focus()
}

async function verify() {
  if (isBusy) return
  const otp = at('code').value.trim()
  if (!otp) return refuseCode(words.codeMissing)
  const { destinationNumber, referenceId } = verification
  complain('code', '')
  const { ok, status, body } = await post('verify', { destinationNumber, referenceId, otp }, at('verify'))
  if (ok) return finish()
  showAttempts(body.attemptsLeft)
  if (body.code === 'destination_locked') {
    startOver()
    return refuseNumber(sentences(body, status))
  }
  // After the last wrong guess, the next guess would be refused with this error code.
  const code = body.code === 'invalid_code' && body.attemptsLeft === 0 ? 'attempts_exhausted' : body.code
  refuseCode(sentences({ ...body, code }, status), endings.has(code))
}

function refuseCode(text, isOver = false) {
  complain('code', text, at('code'))
  lengthBefore = 0
  if (!isOver) {
    at('code').select()
    return
  }
  stopReading()
  at('code').disabled = at('verify').disabled = true
  at('attempts').textContent = ''
  // A button whose time has come may still be disabled, for a second at most.
  tick()
  const button = at('resend').querySelector('button:enabled')
  ;(button ?? at('code-title')).focus()
}

function finish() {
  stopReading()
  show('done', at('done-title'))
  const { destinationNumber, referenceId } = verification
  document.dispatchEvent(new CustomEvent('otp-verified', { detail: { destinationNumber, referenceId } }))
}

function startOver() {
  stopReading()
  verification = undefined
  complain('number', '')
  show('number', at('number'))
}

/** Counts the seconds until the next message may be sent. Only the end of the wait is read out. */
function tick() {
  if (!verification) return
  const seconds = Math.ceil((verification.resendFrom - Date.now()) / 1000)
  const waits = seconds > 0
  const waited = at('countdown').textContent !== ''
  at('countdown').textContent = waits ? say('resendIn', { wait: duration(seconds) }) : ''
  for (const button of at('resend').children) button.disabled = waits
  if (waited && !waits && !at('code-step').hidden) at('news').textContent = words.resendNow
}

// ---- The code from the text

/** WebOTP: the browser offers to fill in the code of a text whose last line is `@domain #code`. */
async function readText() {
  stopReading()
  if (!('OTPCredential' in window)) return
  waitingForText = new AbortController()
  const { signal } = waitingForText
  try {
    const text = await navigator.credentials.get({ otp: { transport: ['sms'] }, signal })
    if (!text?.code || signal.aborted) return
    at('code').value = text.code
    await verify()
  } catch {
    // The person has declined, or has typed the code.
  }
}

function stopReading() {
  waitingForText?.abort()
}

function readInput() {
  const { length } = at('code').value.replace(/[^\p{L}\p{N}]/gu, '')
  // The whole code at once was pasted or filled in. A person who types can still correct it.
  if (lengthBefore === 0 && length > 1 && length === verification.codeLength) verify()
  lengthBefore = length
}

await loadWords()
listCountries()
listChannels()
at('code').inputMode = setting('code-type') === 'numeric' ? 'numeric' : 'text'
at('code').addEventListener('input', readInput)
at('number-form').addEventListener('submit', (event) => { event.preventDefault(); send() })
at('code-form').addEventListener('submit', (event) => { event.preventDefault(); verify() })
for (const button of ['other-number', 'once-more']) at(button).addEventListener('click', () => { if (!isBusy) startOver() })
setInterval(tick, 500)
document.documentElement.dataset.ready = ''
