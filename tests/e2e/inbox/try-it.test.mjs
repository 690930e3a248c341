// Tests of examples/web in a browser, as the desk serves it at /try/.
//
//   OTP_E2E_INBOX=target/e2e/inbox node --test tests/e2e/inbox/try-it.test.mjs
//
// Each test has its own desk in the open mode: the page calls the API as a public caller.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe } from 'node:test'

import {
  accessibilityFaults, browser, eventually, layoutFaults, narrow, start, tabOrder, tabTo, test, unreached, wide,
} from './tools.mjs'

const open = ['API_AUTH=none', 'ALLOWED_COUNTRIES=US,FR']
const withCalls = [...open, 'PROVIDER=end-user-messaging']

const wordsOf = (language) =>
  JSON.parse(readFileSync(new URL(`../../../examples/web/messages/${language}.json`, import.meta.url), 'utf8'))
const english = wordsOf('en')

/**
 * Starts a desk and opens the page. The test fails if the page has an error, violates its content security policy, or
 * calls anything but the desk. A refusal of the API is no error.
 */
async function visit(t, { settings = open, viewport = wide, colorScheme = 'light', query = '', script, locale = 'en-US' } = {}) {
  const desk = await start(t, { settings })
  const context = await browser.newContext({ viewport, colorScheme, locale, reducedMotion: 'reduce' })
  context.setDefaultTimeout(30_000)
  const page = await context.newPage()
  const wrong = []
  page.on('console', (message) => {
    const isRefusal = /^Failed to load resource: (the server responded|net::ERR_)/.test(message.text())
    if (['error', 'warning'].includes(message.type()) && !isRefusal) wrong.push(`console: ${message.text()}`)
  })
  page.on('pageerror', (error) => wrong.push(`thrown: ${error}`))
  page.on('request', (request) => {
    const url = request.url()
    if (![`${desk.phone}/try/`, `${desk.api}/otp/`, 'data:'].some((own) => url.startsWith(own))) wrong.push(`request: ${url}`)
  })
  t.finally(async () => {
    await context.close()
    assert.deepEqual(wrong, [])
  })
  if (script) await page.addInitScript(script)
  await page.goto(`${desk.phone}/try/${query}`)
  await page.locator('html[data-ready]').waitFor({ state: 'attached' })
  return { desk, page }
}

/** The newest message on the phone. */
const newest = async (desk) => (await (await fetch(`${desk.phone}/inbox`)).json()).messages[0]

async function control(desk, path, body) {
  const answer = await fetch(`${desk.phone}/simulator/${path}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  })
  assert.ok(answer.ok, await answer.text())
}

async function sendTo(page, number, words = english) {
  await page.getByLabel(words.number, { exact: true }).fill(number)
  await page.getByRole('button', { name: words.send, exact: true }).click()
}

async function enter(page, code) {
  const field = page.getByLabel(english.code, { exact: true })
  await field.fill('')
  await field.pressSequentially(code)
  await page.keyboard.press('Enter')
}

/** Waits for the code field, which then has the focus. */
async function codeStep(page) {
  await page.getByRole('heading', { name: english.codeTitle }).waitFor()
  await eventually(async () => assert.equal(await focused(page), 'code'))
}

const focused = (page) => page.evaluate(() => document.activeElement.id)
const verified = (page) => page.getByRole('heading', { name: english.doneTitle }).waitFor()

/** Waits until this text is in the one visible alert. */
async function complaint(page, text) {
  const alert = page.getByRole('alert').filter({ visible: true, hasText: /./ })
  await eventually(async () => assert.equal(await alert.textContent(), text))
}

/** Stops the clock of the page, so that a slow machine does not end a wait. */
async function stopClock(page) {
  await page.clock.install()
  await page.clock.pauseAt(Date.now() + 60_000)
}

const wrongGuess = (code) => (code === '000000' ? '111111' : '000000')

describe('the page to try and to copy', { concurrency: 2 }, () => {
  test('a number is verified by keyboard, and the page tells its site', async (t) => {
    const { desk, page } = await visit(t)
    await page.evaluate(() => {
      document.addEventListener('otp-verified', ({ detail }) => { window.verified = detail })
    })
    await tabTo(page, page.getByLabel(english.number, { exact: true }))
    await page.keyboard.type('(425) 555-0142')
    await page.keyboard.press('Enter')
    await codeStep(page)
    const field = page.getByLabel(english.code, { exact: true })
    assert.equal(await field.getAttribute('autocomplete'), 'one-time-code')
    assert.equal(await field.getAttribute('inputmode'), 'numeric')
    assert.equal(await page.locator('#attempts').textContent(), 'Attempts left: 3')
    assert.match(await page.getByRole('status').textContent(), /^We have sent a text message to .*\+1\*{7}0142/)
    assert.match(await page.locator('#sent-to').textContent(), /\+1\*{7}0142/)
    const { code, to } = await newest(desk)
    assert.equal(to, '+14255550142')
    await page.keyboard.type(code)
    await page.keyboard.press('Enter')
    await verified(page)
    await eventually(async () => assert.equal(await focused(page), 'done-title'))
    const { destinationNumber, referenceId } = await page.evaluate(() => window.verified)
    assert.equal(destinationNumber, '+1 (425) 555-0142')
    assert.match(referenceId, /^[0-9a-f]{32}$/)
  })

  test('a wrong code can be corrected, and three wrong codes cannot', async (t) => {
    const { desk, page } = await visit(t)
    await stopClock(page)
    await sendTo(page, '425 555 0142')
    await codeStep(page)
    const { code } = await newest(desk)
    await enter(page, wrongGuess(code))
    await complaint(page, english.errors.invalid_code)
    assert.equal(await page.locator('#attempts').textContent(), 'Attempts left: 2')
    const field = page.locator('#code')
    assert.equal(await field.getAttribute('aria-invalid'), 'true')
    assert.equal(await field.getAttribute('aria-describedby'), 'attempts code-problem')
    assert.equal(await focused(page), 'code')
    // A code of the wrong length costs no attempt.
    await enter(page, '12345')
    await complaint(page, 'The code has 6 characters. Check what you have entered.')
    assert.equal(await page.locator('#attempts').textContent(), 'Attempts left: 2')
    await enter(page, '222222' === code ? '333333' : '222222')
    await eventually(async () => assert.equal(await page.locator('#attempts').textContent(), 'Attempts left: 1'))
    await enter(page, '444444' === code ? '555555' : '444444')
    await complaint(page, english.errors.attempts_exhausted)
    assert.ok(await field.isDisabled())
    assert.equal(await focused(page), 'code-title')
  })

  test('an expired code leads to a new one', async (t) => {
    const { desk, page } = await visit(t)
    await sendTo(page, '425 555 0142')
    await codeStep(page)
    const { code } = await newest(desk)
    await control(desk, 'clock', { advanceSeconds: 3700 })
    await page.clock.install()
    await page.clock.fastForward(31_000)
    await enter(page, code)
    await complaint(page, english.errors.code_expired)
    const again = page.getByRole('button', { name: english.resend_sms })
    await eventually(async () => assert.ok(await again.evaluate((button) => button === document.activeElement)))
    await page.keyboard.press('Enter')
    await codeStep(page)
    await enter(page, (await newest(desk)).code)
    await verified(page)
  })

  test('a resend waits for its time, and its code is the right one', async (t) => {
    const { desk, page } = await visit(t)
    await stopClock(page)
    await sendTo(page, '425 555 0142')
    await codeStep(page)
    const first = (await newest(desk)).code
    const again = page.getByRole('button', { name: english.resend_sms })
    assert.ok(await again.isDisabled())
    assert.match(await page.locator('#countdown').textContent(), /^You can ask for another code in: 30 seconds$/)
    await page.clock.runFor(10_000)
    await eventually(async () => assert.match(await page.locator('#countdown').textContent(), /: 20 seconds$/))
    assert.notEqual(await page.getByRole('status').textContent(), english.resendNow, 'each second is read out')
    await page.clock.runFor(25_000)
    await eventually(async () => assert.equal(await page.getByRole('status').textContent(), english.resendNow))
    assert.equal(await page.locator('#countdown').textContent(), '')
    await control(desk, 'clock', { advanceSeconds: 31 })
    await again.click()
    await codeStep(page)
    await eventually(async () => assert.notEqual((await newest(desk)).id, 1))
    const second = (await newest(desk)).code
    if (second !== first) {
      await enter(page, first)
      // In the open mode the new message has a reference of its own.
      await complaint(page, english.errors.invalid_code)
    }
    await enter(page, second)
    await verified(page)
  })

  test('a limit says how long to wait', async (t) => {
    const { page } = await visit(t)
    await sendTo(page, '425 555 0142')
    await codeStep(page)
    await page.getByRole('button', { name: english.otherNumber }).click()
    await eventually(async () => assert.equal(await focused(page), 'number'))
    await page.getByRole('button', { name: english.send, exact: true }).click()
    const alert = page.locator('#number-problem')
    const soon = [english.errors.resend_too_soon, english.errors.rate_limited].map((text) => text.replaceAll('.', '\\.'))
    await eventually(async () => assert.match(
      await alert.textContent(), new RegExp(`^(${soon.join('|')}) Please wait: \\d+ seconds\\.$`)))
  })

  test('a locked number and a pause are said in words', async (t) => {
    const { desk, page } = await visit(t)
    const refuse = (operation, status, code, times = 1) => page.route(`${desk.api}/otp/${operation}`, (route) => route.fulfill({
      status,
      headers: { 'access-control-allow-origin': '*' },
      contentType: 'application/problem+json',
      body: JSON.stringify({ code, status, valid: false }),
    }), { times })
    await refuse('send', 503, 'sending_paused')
    await sendTo(page, '425 555 0142')
    await complaint(page, english.errors.sending_paused)
    await page.getByRole('button', { name: english.send, exact: true }).click()
    await codeStep(page)
    await refuse('verify', 403, 'destination_locked')
    await enter(page, '000000')
    await complaint(page, english.errors.destination_locked)
    assert.equal(await focused(page), 'number')
    // A gateway's own refusal has no error code.
    await refuse('send', 429)
    await page.getByRole('button', { name: english.send, exact: true }).click()
    await complaint(page, english.throttled)
    await refuse('send', 401)
    await page.getByRole('button', { name: english.send, exact: true }).click()
    await complaint(page, english.signIn)
  })

  test('each error code of a send is said in its words', async (t) => {
    const { desk, page } = await visit(t, { query: '?lang=de' })
    const german = wordsOf('de')
    const codes = Object.keys(german.errors)
    const coming = [...codes]
    await page.route(`${desk.api}/otp/send`, (route) => route.fulfill({
      status: 400,
      headers: { 'access-control-allow-origin': '*' },
      body: JSON.stringify({ code: coming.shift(), delivery: 'unknown', retryAfter: 90 }),
    }))
    await page.getByLabel(german.number, { exact: true }).fill('425 555 0142')
    const shown = await page.evaluate(async (count) => {
      const texts = []
      const [form, problem] = ['number-form', 'number-problem'].map((id) => document.getElementById(id))
      while (texts.length < count) {
        form.requestSubmit()
        while (!problem.textContent) await new Promise((done) => setTimeout(done, 1))
        texts.push(problem.textContent)
      }
      return texts
    }, codes.length)
    assert.deepEqual(shown, codes.map((code) => `${german.errors[code]} ${german.deliveryUnknown} Bitte warten: 90 Sekunden.`))
  })

  test('without a connection the same request is tried again', async (t) => {
    const { desk, page } = await visit(t)
    const keys = []
    page.on('request', (request) => {
      if (request.method() === 'POST') keys.push(request.headers()['idempotency-key'])
    })
    await page.context().setOffline(true)
    await sendTo(page, '425 555 0142')
    await complaint(page, english.offline)
    await page.context().setOffline(false)
    await page.getByRole('button', { name: english.send, exact: true }).click()
    await codeStep(page)
    await enter(page, (await newest(desk)).code)
    await verified(page)
    assert.equal(keys.length, 3)
    assert.equal(keys[0], keys[1])
    assert.notEqual(keys[1], keys[2])
  })

  test('when API Gateway answers for the function, the same request is tried again', async (t) => {
    const { desk, page } = await visit(t)
    const keys = []
    page.on('request', (request) => {
      if (request.method() === 'POST') keys.push(request.headers()['idempotency-key'])
    })
    await page.route(`${desk.api}/otp/send`, (route) => route.fulfill({ status: 503, json: { message: 'Service Unavailable' } }), { times: 1 })
    await sendTo(page, '425 555 0142')
    await complaint(page, english.unexpected)
    await page.getByRole('button', { name: english.send, exact: true }).click()
    await codeStep(page)
    assert.equal(keys.length, 2)
    assert.equal(keys[0], keys[1])
  })

  test('while a request is under way, the number cannot be left', async (t) => {
    const { desk, page } = await visit(t)
    await page.evaluate(() => {
      document.addEventListener('otp-verified', ({ detail }) => { window.verified = detail })
    })
    await sendTo(page, '425 555 0142')
    await codeStep(page)
    let answer
    const held = new Promise((resolve) => { answer = resolve })
    await page.route(`${desk.api}/otp/verify`, async (route) => {
      await held
      await route.continue()
    })
    await enter(page, (await newest(desk)).code)
    await page.locator('#verify[aria-busy]').waitFor()
    await page.locator('#other-number').click()
    answer()
    await verified(page)
    assert.equal((await page.evaluate(() => window.verified)).destinationNumber, '+1 425 555 0142')
  })

  test('a copy of the page sends a token with the line that docs/web-page.md shows', async (t) => {
    const { desk, page } = await visit(t, { script: () => { window.accessToken = async () => 'token-of-the-user' } })
    const [line] = readFileSync(new URL('../../../docs/web-page.md', import.meta.url), 'utf8').match(/^authorization: .*,$/m)
    await page.route('**/otp.mjs', async (route) => {
      const response = await route.fetch()
      const own = await response.text()
      const copy = own.replace("'idempotency-key': key }", `'idempotency-key': key, ${line} }`)
      assert.notEqual(copy, own)
      await route.fulfill({ response, body: copy })
    })
    await page.reload()
    await page.locator('html[data-ready]').waitFor({ state: 'attached' })
    const tokens = []
    page.on('request', (request) => {
      if (request.method() === 'POST') tokens.push(request.headers().authorization)
    })
    await sendTo(page, '425 555 0142')
    await codeStep(page)
    await enter(page, (await newest(desk)).code)
    await verified(page)
    assert.deepEqual(tokens, Array(2).fill('Bearer token-of-the-user'))
  })

  test('on a plain address of the local network, codes are sent too', async (t) => {
    // Browsers have this function at secure origins alone.
    const { page } = await visit(t, { script: () => { crypto.randomUUID = undefined } })
    await sendTo(page, '425 555 0142')
    await codeStep(page)
  })

  test('a call can be chosen, and later another channel', async (t) => {
    const { desk, page } = await visit(t, { settings: withCalls })
    const choices = page.getByRole('group', { name: english.channel })
    await tabTo(page, choices.getByLabel(english.sms))
    await page.keyboard.press('ArrowDown')
    assert.ok(await choices.getByLabel(english.voice).isChecked())
    await sendTo(page, '425 555 0142')
    await codeStep(page)
    assert.match(await page.locator('#sent-to').textContent(), /^We are calling /)
    assert.equal((await newest(desk)).channel, 'voice')
    await page.clock.install()
    await page.clock.fastForward(31_000)
    await control(desk, 'clock', { advanceSeconds: 31 })
    await page.getByRole('button', { name: english.resend_whatsapp }).click()
    await eventually(async () => assert.match(await page.locator('#sent-to').textContent(), /WhatsApp/))
    await enter(page, (await newest(desk)).code)
    await verified(page)
  })

  test('a pasted code with spaces is verified at once', async (t) => {
    const { desk, page } = await visit(t)
    await sendTo(page, '425 555 0142')
    await codeStep(page)
    const { code } = await newest(desk)
    const paste = (text) => page.evaluate((pasted) => document.execCommand('insertText', false, pasted), text)
    await paste(wrongGuess(code))
    await complaint(page, english.errors.invalid_code)
    // The wrong code is selected, so the next one takes its place.
    await paste(` ${code.slice(0, 3)} ${code.slice(3)} `)
    await verified(page)
  })

  test('the code of a text for WebOTP is filled in', async (t) => {
    // The browser's part is played here: it gives the page the code of the last line, if the line is for this site.
    const script = () => {
      window.OTPCredential = class {}
      navigator.credentials.get = ({ otp, signal }) => new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(new DOMException('stopped', 'AbortError')))
        window.arrive = (text) => {
          const [, domain, code] = text.split('\n').at(-1).match(/^@(\S+) #(\S+)$/) ?? []
          if (otp.transport.includes('sms') && domain === location.hostname) resolve({ code })
        }
      })
    }
    const { desk, page } = await visit(t, { settings: [...withCalls, 'WEBOTP_DOMAIN=localhost.example'], script })
    await sendTo(page, '425 555 0142')
    await codeStep(page)
    const { code, text } = await newest(desk)
    assert.ok(text.endsWith(`\n@localhost.example #${code}`), text)
    // The control: a text for another site fills in nothing.
    await page.evaluate((own) => window.arrive(own), text)
    assert.equal(await page.locator('#code').inputValue(), '')
    await page.evaluate((own) => window.arrive(own), text.replace('localhost.example', new URL(desk.phone).hostname))
    await verified(page)
  })

  test('numbers are typed as at home', async (t) => {
    const { page } = await visit(t, { settings: ['API_AUTH=none', 'ALLOWED_COUNTRIES=US,FR,IT,CI,HU'] })
    const made = await page.evaluate(async () => {
      const { international } = await import('./otp.mjs')
      return [['06 12 34 56 78', 'FR'], ['(06) 12', 'FR'], ['٠٦ ١٢', 'FR'], ['1 425 555 0142', 'US'], ['06 1234', 'IT'],
        ['07 08', 'CI'], ['06 30 123', 'HU'], ['+44 7', 'FR'], ['0044 7', 'FR'], [' 425', 'US']].map((own) => international(...own))
    })
    assert.deepEqual(made, ['+33 6 12 34 56 78', '+33 (6) 12', '+33 ٦ ١٢', '+1  425 555 0142', '+39 06 1234', '+225 07 08',
      '+36  30 123', '+44 7', '+44 7', '+1 425'])
    const countries = await page.locator('#country option').allTextContents()
    assert.equal(countries.length, 5)
    assert.ok(countries.some((name) => name.startsWith('France (')), countries.join())
    await page.locator('#country').selectOption('FR')
    await sendTo(page, '06 12 34 56 78')
    await codeStep(page)
  })

  test('the page speaks the language of the browser, and asks for messages in it', async (t) => {
    const { desk, page } = await visit(t, { settings: withCalls, locale: 'ar-EG', viewport: narrow })
    assert.equal(await page.locator('html').getAttribute('dir'), 'rtl')
    const arabic = wordsOf('ar')
    await page.getByRole('heading', { name: arabic.numberTitle }).waitFor()
    await page.locator('#country').selectOption('US')
    await sendTo(page, '425 555 0142', arabic)
    await page.getByRole('heading', { name: arabic.codeTitle }).waitFor()
    assert.match((await newest(desk)).language, /^ar/)
    assert.deepEqual(await layoutFaults(page), [])
  })

  test('a language that the provider does not have gives the default language', async (t) => {
    const { desk, page } = await visit(t, { query: '?lang=nl' })
    await sendTo(page, '425 555 0142', wordsOf('nl'))
    await page.getByRole('heading', { name: wordsOf('nl').codeTitle }).waitFor()
    assert.equal((await newest(desk)).language, 'en-US')
  })

  for (const colorScheme of ['light', 'dark']) {
    test(`axe and the layout find no faults, ${colorScheme}`, async (t) => {
      const { desk, page } = await visit(t, { settings: withCalls, colorScheme })
      const check = async (what) => {
        for (const viewport of [wide, narrow, { width: 320, height: 568 }]) {
          await page.setViewportSize(viewport)
          assert.deepEqual(await layoutFaults(page), [], `${what} at ${viewport.width} pixels`)
        }
        const { faults, passed } = await accessibilityFaults(page)
        assert.deepEqual(faults, [], what)
        for (const rule of ['color-contrast', 'target-size', 'html-has-lang']) assert.ok(passed.includes(rule), rule)
        const stops = await tabOrder(page)
        assert.ok(stops.every(({ ringed }) => ringed), `${what}: ${JSON.stringify(stops)}`)
        // Tab reaches one choice of a group, and the arrows reach the others. It skips buttons that still have to wait.
        const others = (await unreached(page)).filter((control) => !/type="radio"|disabled=""/.test(control))
        assert.deepEqual(others, [], what)
      }
      await sendTo(page, '1')
      await complaint(page, english.errors.invalid_phone_number)
      await check('a refused number')
      await sendTo(page, '425 555 0142')
      await codeStep(page)
      const { code } = await newest(desk)
      await enter(page, wrongGuess(code))
      await complaint(page, english.errors.invalid_code)
      await check('a wrong code')
      await enter(page, code)
      await verified(page)
      await check('the end')

      // The control: the checks find faults.
      await page.evaluate(() => {
        document.documentElement.style.setProperty('--soft', getComputedStyle(document.querySelector('.card')).backgroundColor)
        document.querySelector('#once-more').style.minWidth = '40rem'
      })
      assert.ok((await layoutFaults(page)).length > 0)
      const { faults } = await accessibilityFaults(page)
      assert.ok(faults.some((fault) => fault.startsWith('color-contrast')), `${faults}`)
    })
  }
})
