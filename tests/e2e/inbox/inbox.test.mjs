// Tests of the simulator's inbox page in a browser, with mouse, keyboard and accessibility checks.
//
//   OTP_E2E_INBOX=target/e2e/inbox node --test tests/e2e/inbox/inbox.test.mjs
//
// Each test has its own simulator and page. If a check looked at nothing, it could pass wrongly. The tests of such checks
// also break the page, and then expect the check to fail.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe } from 'node:test'
import { promisify } from 'node:util'

import {
  accessibilityFaults, browser, eventually, layoutFaults, narrow, start, tabOrder, tabTo, test, unreached, wide,
} from './tools.mjs'

const languages = [
  'de-DE', 'en-GB', 'en-US', 'es-419', 'es-ES', 'fr-CA', 'fr-FR', 'it-IT', 'ja-JP', 'ko-KR', 'pt-BR', 'zh-CN', 'zh-TW',
]

// Twenty characters is the longest brand.
const hostile = [
  '<img src onerror=a>', '</script><script>a()', '<svg onload=alert()>', '&lt;b&gt;"\'{{nonce}}', '</p></li></ol></div>',
]
const long = ['W'.repeat(20), 'あいうえおかきくけこさしすせそたちつてと', 'العلامة', '👩‍👩‍👧‍👦👩‍👩‍👧‍👦']

// ---- Tools

let clipboardIsFree = Promise.resolve()

/** Waits for the clipboard and keeps it until the test ends, because there is only one. */
async function clipboard(t) {
  const before = clipboardIsFree
  clipboardIsFree = new Promise((free) => t.finally(free))
  await before
}

/** Sends through the service. Each send has a new number, because the service limits messages to one number. */
async function send(simulator, wish = {}) {
  const nth = simulator.sends ?? 0
  simulator.sends = nth + 1
  const own = nth === 0 ? {} : { destinationNumber: `+1425555${String((nth < 23 ? 119 : 147) + nth).padStart(4, '0')}` }
  const answer = await fetch(`${simulator.api}/otp/send`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ destinationNumber: '+14255550142', ...own, ...wish }),
  })
  return { status: answer.status, body: await answer.json() }
}

async function sent(simulator, wish) {
  const { status, body } = await send(simulator, wish)
  assert.equal(status, 202, JSON.stringify(body))
  return body
}

/** The messages in the inbox's JSON, newest first. */
async function inbox(simulator) {
  return (await (await fetch(`${simulator.phone}/inbox`)).json()).messages
}

/** Sends through the simulated Pinpoint directly, for messages that the service would not send. */
async function pinpoint(simulator, fields) {
  const answer = await fetch(`${simulator.phone}/v1/apps/desk/otp`, {
    method: 'POST',
    headers: signed('mobiletargeting'),
    body: JSON.stringify({
      Channel: 'SMS',
      BrandName: 'ExampleCorp',
      DestinationIdentity: '+14255550142',
      OriginationIdentity: '+12065550100',
      ReferenceId: 'inbox',
      ...fields,
    }),
  })
  assert.equal(answer.status, 200, await answer.text())
}

const signed = (scope) => ({ authorization: `AWS4-HMAC-SHA256 Credential=desk/20261123/us-east-1/${scope}/aws4_request` })

/** Sends through the simulated End User Messaging directly. Returns the ID of the message. */
async function endUserMessaging(simulator, channel, overrideChannelParameters, fields) {
  const answer = await fetch(`${simulator.phone}/v1/notify-code-verifications/send`, {
    method: 'POST',
    headers: signed('end-user-messaging'),
    body: JSON.stringify({
      channel,
      destinationIdentity: '+14255550142',
      originationIdentity: '+12065550100',
      overrideChannelParameters,
      ...fields,
    }),
  })
  const body = await answer.json()
  assert.equal(answer.status, 200, JSON.stringify(body))
  return body.messageId
}

/** Gives feedback on a message of End User Messaging. */
async function feedback(simulator, MessageId, MessageFeedbackStatus) {
  const answer = await fetch(`${simulator.phone}/`, {
    method: 'POST',
    headers: {
      ...signed('sms-voice'),
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': 'PinpointSMSVoiceV2.PutMessageFeedback',
    },
    body: JSON.stringify({ MessageId, MessageFeedbackStatus }),
  })
  assert.equal(answer.status, 200, await answer.text())
}

/**
 * Opens the page. The test fails if the page has an error or a warning, violates its content security policy, or makes a
 * request to anything but the simulator. Entries that match `expected` are allowed.
 */
async function open(t, simulator, { viewport = wide, colorScheme = 'light', permissions = [], expected = [] } = {}) {
  const context = await browser.newContext({
    viewport,
    colorScheme,
    permissions,
    reducedMotion: 'reduce',
    locale: 'en-US',
    timezoneId: 'UTC',
  })
  context.setDefaultTimeout(10_000)
  const page = await context.newPage()
  const wrong = []
  page.on('console', (message) => {
    if (['error', 'warning', 'assert'].includes(message.type())) wrong.push(`console: ${message.text()}`)
  })
  page.on('pageerror', (error) => wrong.push(`thrown: ${error}`))
  page.on('dialog', (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`)
    dialog.dismiss()
  })
  page.on('request', (request) => {
    if (!request.url().startsWith(`${simulator.phone}/`) && !request.url().startsWith('data:')) {
      wrong.push(`request: ${request.url()}`)
    }
  })
  await page.exposeFunction('reportViolation', (violation) => { wrong.push(`policy: ${violation}`) })
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      window.reportViolation(`${event.violatedDirective} ${event.blockedURI}`)
    })
    // An injected handler or script would call this.
    window.a = () => { throw new Error('injected') }
  })
  t.finally(async () => {
    await context.close()
    assert.deepEqual(wrong.filter((entry) => !expected.some((pattern) => pattern.test(entry))), [])
  })

  await page.goto(`${simulator.phone}/`)
  await live(page)
  return { page, wrong }
}

const live = (page) => page.locator('#live.on').waitFor()

/** Waits until `count` messages are on the page, and returns them. */
async function texts(page, count) {
  const rows = page.locator('#list > li')
  await eventually(async () => assert.equal(await rows.count(), count))
  return rows
}

const announced = (page) => page.locator('[aria-live=polite]').textContent()

// ---- Tests

describe('the inbox page', { concurrency: 4 }, () => {
  test('an empty page shows a command, and the command works', async (t) => {
    await clipboard(t)
    for (const phoneOnly of [false, true]) {
      const simulator = await start(t, { phoneOnly })
      const { page } = await open(t, simulator, { permissions: ['clipboard-read', 'clipboard-write'] })
      await page.getByRole('heading', { name: 'No texts yet' }).waitFor()
      await page.getByText('Paste this into a terminal:').waitFor()
      assert.equal(await page.title(), 'otp-lambda desk')
      assert.equal(await page.locator('#list').isVisible(), false)
      const command = await page.locator('#command').textContent()
      assert.ok(command.startsWith('curl ') && command.includes(simulator.api ?? simulator.phone), command)

      await page.getByRole('button', { name: 'Copy command' }).click()
      await page.getByRole('button', { name: 'Copied' }).waitFor()
      const pasted = await page.evaluate(() => navigator.clipboard.readText())
      assert.equal(pasted, command)

      const shell = promisify(execFile)
      if (!(await shell('curl', ['--version']).catch(() => null))) {
        t.diagnostic('the command did not run: needs curl')
        continue
      }
      await shell('sh', ['-c', pasted])
      const rows = await texts(page, 1)
      assert.match(await rows.first().textContent(), /ExampleCorp/)
      assert.equal(await page.getByText('No texts yet').isVisible(), false)
      // The command is still there.
      await page.getByText('Send a text').click()
      assert.equal(await page.locator('#command-again').textContent(), command)
    }
  })

  test('a new message appears at the top, with all its details', async (t) => {
    const simulator = await start(t)
    const { page } = await open(t, simulator)
    await page.evaluate(() => { window.stillHere = true })

    await sent(simulator, { validityPeriod: 5 })
    await texts(page, 1)
    await sent(simulator, { destinationNumber: '+819012345678', language: 'ja-JP', brandName: 'Second' })
    const rows = await texts(page, 2)
    const [second, first] = await inbox(simulator)
    assert.deepEqual([second.brand, first.brand], ['Second', 'ExampleCorp'])

    for (const [index, message] of [second, first].entries()) {
      const row = rows.nth(index)
      assert.equal(await row.getByRole('heading').textContent(), message.brand)
      assert.equal(await row.locator('.code').textContent(), message.code)
      assert.equal(await row.locator('.body').textContent(), message.text)
      assert.equal(await row.locator('.body strong').textContent(), message.code)
      assert.ok((await row.locator('.route').textContent()).startsWith(`to ${message.to}from ${message.from}`))
      assert.equal(await row.locator('time').getAttribute('datetime'), message.sentAt)
    }
    assert.notEqual(second.code, first.code)

    // The time left goes down.
    const left = async (row) => {
      const [, minutes, seconds] = (await row.locator('.left').textContent()).match(/^expires in (\d+):(\d\d)$/)
      return Number(minutes) * 60 + Number(seconds)
    }
    for (const [index, message] of [second, first].entries()) {
      const seconds = await left(rows.nth(index))
      const truly = (Date.parse(message.expiresAt) - Date.now()) / 1000
      assert.ok(Math.abs(seconds - truly) < 3, `${seconds} is not ${truly}`)
    }
    const before = await left(rows.nth(0))
    await eventually(async () => assert.ok((await left(rows.nth(0))) < before))

    assert.equal(await page.title(), 'otp-lambda desk (2)')
    assert.equal(await page.locator('#count').textContent(), '2 texts')
    assert.equal(await page.evaluate(() => window.stillHere), true, 'the page was reloaded')
    await page.reload()
    await texts(page, 2)
    assert.equal(await page.evaluate(() => window.stillHere), undefined)
  })

  test('a used code is shown as used, and starting over forgets the limits', async (t) => {
    const simulator = await start(t)
    const { page } = await open(t, simulator)
    const destinationNumber = '+14255550142'
    await sent(simulator, { destinationNumber })
    const rows = await texts(page, 1)
    assert.match(await rows.nth(0).locator('.left').textContent(), /^expires in/)
    const [{ code }] = await inbox(simulator)
    const answer = await fetch(`${simulator.api}/otp/verify`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ destinationNumber, otp: code }),
    })
    assert.equal(answer.status, 200)
    await eventually(async () => assert.equal(await rows.nth(0).locator('.left').textContent(), 'used'))

    // It stays used when its time is over.
    await page.locator('summary', { hasText: 'Clock and failures' }).click()
    await page.getByRole('button', { name: '+1 day' }).click()
    await page.getByText('(1 d ahead)').waitFor()
    assert.equal(await rows.nth(0).locator('.left').textContent(), 'used')

    await page.getByRole('button', { name: 'Start over' }).click()
    await eventually(async () => assert.deepEqual(await inbox(simulator), []))
    await sent(simulator, { destinationNumber })
    assert.equal((await send(simulator, { destinationNumber })).status, 429)
  })

  test('a message shows how many guesses are left', async (t) => {
    const simulator = await start(t)
    const { page } = await open(t, simulator)
    const destinationNumber = '+14255550142'
    await sent(simulator, { destinationNumber })
    const left = (await texts(page, 1)).nth(0).locator('.left')
    const [{ code }] = await inbox(simulator)
    const guess = (otp) =>
      fetch(`${simulator.api}/otp/verify`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ destinationNumber, otp }),
      })
    const wrong = (add) => [...code].map((digit) => (Number(digit) + add) % 10).join('')
    assert.match(await left.textContent(), /^expires in \d+:\d\d$/)
    for (const [add, says] of [
      [1, /^expires in \d+:\d\d, 2 guesses left$/],
      [2, /^expires in \d+:\d\d, 1 guess left$/],
      [3, /^no guesses left$/],
    ]) {
      await guess(wrong(add))
      await eventually(async () => assert.match(await left.textContent(), says))
    }
    assert.notEqual((await guess(code)).status, 200)
    // The guesses at a code say nothing about the next code.
    await page.locator('summary', { hasText: 'Clock and failures' }).click()
    await page.getByRole('button', { name: 'Start over' }).click()
    await eventually(async () => assert.deepEqual(await inbox(simulator), []))
    await sent(simulator, { destinationNumber })
    const again = (await texts(page, 1)).nth(0).locator('.left')
    await eventually(async () => assert.match(await again.textContent(), /^expires in \d+:\d\d$/))
  })

  test('every language is marked as such, and a hostile brand is shown as text', async (t) => {
    const simulator = await start(t)
    const { page, wrong } = await open(t, simulator)
    for (const language of languages) await sent(simulator, { language })
    for (const brandName of [...hostile, ...long]) await sent(simulator, { brandName })
    const rows = await texts(page, languages.length + hostile.length + long.length)
    const messages = await inbox(simulator)
    assert.deepEqual(messages.slice(-languages.length).map(({ language }) => language).toReversed(), languages)
    assert.equal(new Set(messages.map(({ text, code }) => text.replace(code, ''))).size, messages.length)

    const shown = await rows.evaluateAll((elements) => elements.map((element) => ({
      brand: element.querySelector('h3').innerText,
      text: element.querySelector('.body').innerText,
      lang: element.querySelector('.body').lang,
      tags: [...new Set([...element.querySelectorAll('*')].map(({ localName }) => localName))].sort().join(' '),
    })))
    const tags = 'bdi br button div h3 meter-bar p span strong time'
    const collapsed = (text) => text.replace(/ +/g, ' ')
    assert.deepEqual(shown, messages.map(({ brand, text, language }) => ({
      brand: collapsed(brand),
      text: collapsed(text),
      lang: language,
      tags,
    })))
    assert.deepEqual(wrong, [])

    // After a reload the page shows the same from its first response instead of updates.
    await page.reload()
    await texts(page, messages.length)
    assert.equal(await page.locator('#list :is(img, svg, script, b)').count(), 0)
  })

  test('SMS, calls and WhatsApp messages show their channel and their feedback', async (t) => {
    const simulator = await start(t)
    const { page } = await open(t, simulator, { viewport: narrow })
    const ssml = '<speak>Your code is <say-as interpret-as="digits">{{code}}</say-as><break time="1s"/> &lt;b&gt; Bye.</speak>'
    const text = await endUserMessaging(simulator, 'TEXT', { text: { inlineTemplateBody: `${hostile[0]} {{code}} ${'W'.repeat(80)}` } })
    await texts(page, 1)
    const call = await endUserMessaging(simulator, 'VOICE', {
      voice: { inlineTemplateBody: ssml, languageCode: 'en-GB', voiceId: 'Amy', voiceMessageBodyTextType: 'SSML' },
    })
    await texts(page, 2)
    const [heard] = await inbox(simulator)
    await eventually(async () => assert.equal(
      await announced(page),
      `New call from +12065550100 to +14255550142. The code is ${[...heard.code].join(' ')}.`,
    ))
    await endUserMessaging(simulator, 'WHATSAPP', {
      whatsApp: { whatsAppTemplateName: '<svg/onload=alert()>'.repeat(10), languageCode: 'en' },
    }, { overrideCodeConfigurationParameters: { codeType: 'ALPHANUMERIC', codeLength: 8 } })
    const rows = await texts(page, 3)
    const messages = await inbox(simulator)
    for (const [index, message] of messages.entries()) {
      const row = rows.nth(index)
      assert.equal(await row.locator('.body').textContent(), message.text)
      assert.equal(await row.locator('.code').textContent(), message.code)
      assert.equal(await row.getByRole('heading').textContent(), '+12065550100')
    }

    const chat = rows.nth(0)
    assert.equal(await chat.locator('.kind').textContent(), `WhatsApp, template ${messages[0].template}`)
    assert.equal(await chat.getByRole('button').textContent(), 'Copy code')
    const phoneCall = rows.nth(1)
    assert.equal(await phoneCall.locator('.kind').textContent(), 'Phone call')
    const spelled = [...heard.code].join(' ')
    assert.equal(await phoneCall.locator('.body').textContent(), `Your code is ${spelled} … <b> Bye.`)
    assert.equal(await phoneCall.locator('.body strong').textContent(), spelled)
    assert.equal(await phoneCall.locator('.body').getAttribute('lang'), 'en-GB')
    assert.match(await phoneCall.locator('.route').textContent(), / · en-GB · Amy$/)
    assert.equal(await rows.nth(2).locator('.kind').count(), 0)

    const said = () => rows.locator('.feedback').allTextContents()
    assert.deepEqual(await said(), ['', '', ''])
    await feedback(simulator, call, 'FAILED')
    await feedback(simulator, text, 'RECEIVED')
    await eventually(async () => assert.deepEqual(await said(), ['', 'failed', 'received']))
    assert.deepEqual(await layoutFaults(page), [])
    // axe cannot judge contrast on a gradient, so the background becomes one color.
    await page.evaluate(() => { document.body.style.background = 'var(--page)' })
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme })
      assert.deepEqual((await accessibilityFaults(page)).faults, [])
    }
    await feedback(simulator, call, 'RECEIVED')
    await eventually(async () => assert.deepEqual(await said(), ['', 'received', 'received']))
    assert.equal(await rows.locator('.feedback.failed').count(), 0)
  })

  test('errors on the page are detected', async (t) => {
    const simulator = await start(t)
    const { page, wrong } = await open(t, simulator, { expected: [/./] })
    const detected = (pattern) => eventually(() => {
      assert.ok(wrong.some((entry) => pattern.test(entry)), `${pattern} is not in: ${wrong}`)
    })
    await page.evaluate(([brand]) => document.querySelector('#empty').insertAdjacentHTML('beforeend', brand), hostile)
    await detected(/^policy: script-src-attr inline/)
    await page.evaluate(() => { setTimeout(() => { throw new Error('oops') }) })
    await detected(/^thrown: .*oops/)
    await page.evaluate(() => { console.warn('careful') })
    await detected(/^console: careful/)
    await page.evaluate(() => { fetch('http://elsewhere.invalid/').catch(() => {}) })
    await detected(/^policy: connect-src/)
  })

  test('nothing is cut off or too small, on a phone or on a wide screen', async (t) => {
    const simulator = await start(t)
    const { page } = await open(t, simulator, { viewport: narrow })
    const check = async (what) => {
      for (const viewport of [narrow, { width: 320, height: 568 }, wide, { width: 900, height: 420 }]) {
        await page.setViewportSize(viewport)
        assert.deepEqual(await layoutFaults(page), [], `${what} at ${viewport.width} pixels`)
      }
      await page.setViewportSize(narrow)
    }
    await check('the empty page')

    for (const language of languages) await sent(simulator, { language })
    for (const brandName of [...hostile, ...long]) await sent(simulator, { brandName })
    await pinpoint(simulator, {
      CodeLength: 8,
      BrandName: 'W'.repeat(20),
      DestinationIdentity: '+123456789012345',
      OriginationIdentity: `arn:aws:sms-voice:us-east-1:123456789012:pool/pool-${'0123456789abcdef'.repeat(2)}`,
    })
    await texts(page, languages.length + hostile.length + long.length + 1)
    await check('messages')

    for (const summary of await page.locator('summary').all()) await summary.click()
    for (const failure of ['permanent-failure-opted-out', 'throttled', { slow: 1500 }]) {
      await fetch(`${simulator.phone}/simulator/failures`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ operation: 'send', failure, times: 3 }),
      })
    }
    await eventually(async () => assert.equal(await page.locator('#coming li').count(), 3))
    await page.getByRole('button', { name: '+1 h' }).click()
    await page.getByText('(1 h ahead)').waitFor()
    await check('the panels')

    // The control: the check finds faults.
    const finds = async (pattern, break_, argument) => {
      await page.evaluate(break_, argument)
      const faults = await layoutFaults(page)
      assert.ok(faults.some((fault) => pattern.test(fault)), `${pattern} is not in: ${faults}`)
      await page.evaluate(() => document.querySelector('#broken').remove())
      assert.deepEqual(await layoutFaults(page), [])
    }
    const add = ({ into, tag, text = '', style }) => {
      const element = document.createElement(tag)
      element.id = 'broken'
      element.textContent = text
      Object.assign(element.style, style)
      document.querySelector(into).append(element)
    }
    await finds(/^sideways/, add, { into: '.desk', tag: 'div', style: { width: '1000px', height: '1px' } })
    await finds(/^too wide: li/, add, { into: '#list li', tag: 'div', style: { width: '1000px', height: '1px' } })
    const body = '#list li .body'
    const unbroken = { text: `long ${'x'.repeat(99)}`, style: { whiteSpace: 'nowrap' } }
    await finds(/^cut off: long/, add, { into: body, tag: 'span', ...unbroken })
    const sunken = { position: 'absolute', bottom: '-1rem' }
    await finds(/^cut off: low/, add, { into: '.screen', tag: 'span', text: 'low', style: sunken })
    await finds(/^small print/, add, { into: body, tag: 'span', text: 'small', style: { fontSize: '11px' } })
    await finds(/^small target/, add, { into: body, tag: 'button', style: { minWidth: '0', minHeight: '0', padding: '0' } })
  })

  test('the keyboard reaches every control, in order and visibly', async (t) => {
    const simulator = await start(t)
    const { page } = await open(t, simulator)
    const check = async (expected) => {
      const stops = await tabOrder(page)
      assert.deepEqual(stops.map(({ name }) => name), expected)
      assert.deepEqual(stops.filter(({ ringed, inSight }) => !ringed || !inSight), [])
      assert.deepEqual(await unreached(page), [])
    }
    await check(['command', 'Copy command', 'The desk', 'Requests', 'Clock and failures', 'Scenario numbers'])

    await sent(simulator, { brandName: 'First' })
    await texts(page, 1)
    await sent(simulator, { brandName: 'Second' })
    await texts(page, 2)
    const codes = (await inbox(simulator)).map(({ code }) => `Copy code ${[...code].join(' ')}`)
    await check([...codes, 'The desk', 'Requests', 'Send a text', 'Clock and failures', 'Scenario numbers'])

    for (const name of ['Send a text', 'Clock and failures', 'Scenario numbers']) {
      await tabTo(page, page.locator('summary', { hasText: name }))
      await page.keyboard.press(name === 'Send a text' ? 'Enter' : 'Space')
    }
    const { scenarios } = await (await fetch(`${simulator.phone}/simulator/scenarios`)).json()
    const ordered = ['send', 'verify'].flatMap((kind) => scenarios.filter(({ operation }) => operation === kind))
    const numbers = ordered.map(({ operation, number }) => `${operation === 'send' ? 'Send to' : 'Verify'} ${number}`)
    const all = [
      ...codes, 'The desk', 'Requests', 'Send a text', 'command-again', 'Copy command', 'Clock and failures', '+1 min', '+5 min', '+1 h',
      '+1 day',
      'Call', 'Answer', 'How often', 'Queue', 'Start over', 'Scenario numbers', ...numbers,
    ]
    await check(all)
    await page.setViewportSize(narrow)
    await check(all)

    // With more messages than fit on the screen, the scrolling list is a stop as well.
    for (let count = 0; count < 4; count += 1) await sent(simulator)
    await texts(page, 6)
    await page.setViewportSize(wide)
    await eventually(async () => assert.equal((await tabOrder(page))[0].name, 'Messages'))
    assert.deepEqual(await unreached(page), [])
    await page.setViewportSize({ width: 1280, height: 2000 })

    // The control: the checks find faults.
    await page.evaluate(() => {
      document.querySelector('#queue').style.outline = 'none'
      document.querySelector('#reset').tabIndex = -1
    })
    const stops = await tabOrder(page)
    assert.deepEqual(stops.filter(({ ringed }) => !ringed).map(({ name }) => name), ['Queue'])
    assert.match(String(await unreached(page)), /^<button [^>]*id="reset"[^>]*>Start over<\/button>$/)
  })

  test('every action works with the keyboard', async (t) => {
    await clipboard(t)
    const simulator = await start(t)
    const { page } = await open(t, simulator, { permissions: ['clipboard-read', 'clipboard-write'] })
    await sent(simulator)
    await texts(page, 1)
    await sent(simulator)
    const rows = await texts(page, 2)

    // Copy a code twice.
    const [newest] = await inbox(simulator)
    const copy = rows.first().getByRole('button')
    await page.evaluate(() => navigator.clipboard.writeText('nothing'))
    await tabTo(page, copy)
    await page.keyboard.press('Enter')
    await eventually(async () => assert.equal(await announced(page), 'Copied.'))
    assert.equal(await copy.textContent(), 'Copied')
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), newest.code)
    await page.keyboard.press('Enter')

    // Move the clock by an hour.
    for (const summary of ['Send a text', 'Clock and failures']) {
      await tabTo(page, page.locator('summary', { hasText: summary }))
      await page.keyboard.press('Enter')
    }
    assert.equal(await page.getByText('expired').count(), 0)
    await tabTo(page, page.getByRole('button', { name: '+1 h' }))
    await page.keyboard.press('Enter')
    await eventually(async () => assert.equal(await page.getByText('expired', { exact: true }).count(), 2))
    await page.getByText('(1 h ahead)').waitFor()
    const clock = await (await fetch(`${simulator.phone}/simulator/clock`)).json()
    assert.equal(clock.offsetSeconds, 3600)

    // Make the next send fail.
    const failure = page.getByLabel('Answer')
    await tabTo(page, failure)
    await page.keyboard.type('200, THR')
    assert.equal(await failure.evaluate((select) => select.selectedOptions[0].text), '200, THROTTLED')
    const queue = page.getByRole('button', { name: 'Queue' })
    await tabTo(page, queue)
    await page.keyboard.press('Enter')
    const queued = page.locator('#coming li')
    await eventually(async () => assert.deepEqual(await queued.allTextContents(), ['Send, once: 200, THROTTLED']))
    const refused = await send(simulator)
    assert.deepEqual([refused.status, refused.body.code], [503, 'provider_throttled'])
    await eventually(async () => assert.equal(await queued.count(), 0))
    await sent(simulator)
    await texts(page, 3)
    assert.match(await rows.first().locator('.left').textContent(), /^expires in /)

    // Make all sends fail, then none. The focus stays on a control.
    await page.keyboard.press('Shift+Tab')
    await page.keyboard.type('Always')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await eventually(async () => assert.deepEqual(await queued.allTextContents(), ['Send, always: 200, THROTTLED']))
    assert.equal((await send(simulator)).status, 503)
    assert.equal((await send(simulator)).status, 503)
    const normal = page.getByRole('button', { name: 'Back to normal' })
    await tabTo(page, normal)
    await page.keyboard.press('Enter')
    await eventually(async () => assert.equal(await normal.isVisible(), false))
    assert.ok(await queue.evaluate((element) => element === document.activeElement))
    await sent(simulator)
    await texts(page, 4)

    // The other operation has other failures.
    await tabTo(page, page.getByLabel('Call'))
    const sends = await failure.locator('option').count()
    await page.keyboard.type('V')
    await eventually(async () => assert.ok((await failure.locator('option').count()) < sends))

    await tabTo(page, page.getByRole('button', { name: 'Start over' }))
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'No texts yet' }).waitFor()
    assert.equal(await page.getByText('ahead)').count(), 0)
    assert.deepEqual(await inbox(simulator), [])
  })

  test('a press on a scenario number shows what the caller gets', async (t) => {
    const simulator = await start(t)
    const { page } = await open(t, simulator, { expected: [/^request: .*\/otp\/(send|verify)$/, /status of 4\d\d/] })
    const { scenarios } = await (await fetch(`${simulator.phone}/simulator/scenarios`)).json()
    assert.equal(scenarios.length, 22)
    const tables = {
      send: page.getByRole('table', { name: 'Send to this number' }),
      verify: page.getByRole('table', { name: 'Verify this number' }),
    }
    assert.equal(await tables.send.count(), 0, 'the panel is open')
    await tabTo(page, page.locator('summary', { hasText: 'Scenario numbers' }))
    await page.keyboard.press('Enter')
    for (const [operation, table] of Object.entries(tables)) {
      await table.waitFor()
      const shown = await table.locator('tr').evaluateAll((rows) => rows.map(({ cells }) => [...cells].map((cell) => cell.innerText)))
      const expected = scenarios.filter((scenario) => scenario.operation === operation)
      assert.deepEqual(shown, expected.map(({ number, sees }) => [number, sees]))
    }
    assert.equal(await page.getByRole('rowheader').count(), scenarios.length)

    for (const [operation, label, gets] of [
      ['send', 'Send to +14255550110', '422 opted_out'],
      ['send', 'Send to +14255550111', '422 undeliverable'],
      ['verify', 'Verify +14255550167', '422 invalid_code'],
    ]) {
      await page.getByRole('button', { name: label }).click()
      const row = tables[operation].locator('tr', { hasText: label.split(' ').at(-1) })
      await row.locator('.verdict').waitFor()
      assert.equal(await row.locator('.verdict').textContent(), gets)
      assert.ok((await row.locator('.detail').textContent()).length > 5)
    }
    // The same number again meets the limit, and the page says so.
    await page.getByRole('button', { name: 'Verify +14255550167' }).click()
    await tables.verify.getByText(/^429 (resend_too_soon|rate_limited)$/).waitFor()
    assert.equal((await inbox(simulator)).length, 1)
  })

  test('without the service a click selects a scenario number', async (t) => {
    const simulator = await start(t, { phoneOnly: true })
    const { page } = await open(t, simulator)
    await page.locator('summary', { hasText: 'Scenario numbers' }).click()
    const selected = () => page.evaluate(() => getSelection().toString().trim())
    const number = page.getByRole('rowheader', { name: '+14255550110' })
    await number.click()
    assert.equal(await selected(), '+14255550110')
    assert.equal(await page.locator('.numbers button').count(), 0)
    assert.equal(await page.locator('#requests').isVisible(), false)
    // The control: without the style that selects the whole number, a click does not select it.
    await page.evaluate(() => {
      getSelection().removeAllRanges()
      for (const head of document.querySelectorAll('.numbers th')) head.style.userSelect = 'text'
    })
    await number.click()
    assert.equal(await selected(), '')
  })

  test('each request is listed with its response and the limit that refused it', async (t) => {
    const simulator = await start(t)
    const { page } = await open(t, simulator)
    assert.match(await page.locator('.product').textContent(), /^otp-lambda \d+\.\d+\.\d+$/)
    await page.locator('summary', { hasText: 'Requests' }).click()
    await page.locator('#no-calls').waitFor()
    const destinationNumber = '+1 425 555 0142'
    await sent(simulator, { destinationNumber })
    assert.equal((await send(simulator, { destinationNumber })).status, 429)
    const [{ code }] = await inbox(simulator)
    await fetch(`${simulator.api}/otp/verify`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ destinationNumber, otp: code }),
    })
    const rows = page.locator('#calls > li')
    await eventually(async () => assert.equal(await rows.count(), 3))
    const lines = await rows.locator('summary').allTextContents()
    const expected = [/verify\+1\*{7}0142200 verified\d+ ms$/, /send\+1\*{7}0142429 resend_too_soon\d+ ms$/, /send\+1\*{7}0142202 pending\d+ ms$/]
    for (const [index, pattern] of expected.entries()) assert.match(lines[index], pattern)
    await rows.nth(0).locator('summary').click()
    const [request, response] = await rows.nth(0).locator('pre').allTextContents()
    assert.deepEqual(JSON.parse(request), { destinationNumber: '+1*******0142', otp: '••••••' })
    assert.equal(JSON.parse(response).status, 'verified')
    // An open request stays open when others come, and nothing here has a code or a full number.
    await sent(simulator)
    await eventually(async () => assert.equal(await rows.count(), 4))
    assert.equal(await rows.nth(1).locator('pre').first().isVisible(), true)
    const all = await page.locator('#calls').textContent()
    assert.ok(!all.includes(code) && !all.includes('4255550142'), all)
    assert.equal(await page.locator('#no-calls').isVisible(), false)
    for (let count = 0; count < 11; count += 1) await send(simulator, { clientIp: '192.0.2.1' })
    await eventually(async () => assert.match(await rows.first().locator('summary').textContent(), /429 rate_limitedlimit: source/))
    await page.locator('summary', { hasText: 'Clock and failures' }).click()
    await page.getByRole('button', { name: 'Start over' }).click()
    await eventually(async () => assert.equal(await rows.count(), 0))
  })

  test('a call can be played in its language, and a second press stops it', async (t) => {
    const simulator = await start(t)
    const { page } = await open(t, simulator)
    await page.evaluate(() => {
      window.spoken = []
      speechSynthesis.speak = ({ text, lang }) => window.spoken.push([text, lang])
      speechSynthesis.cancel = () => window.spoken.push('cancel')
    })
    await endUserMessaging(simulator, 'VOICE', {
      voice: { inlineTemplateBody: 'Ihr Code: {{code}}', languageCode: 'de-DE', voiceMessageBodyTextType: 'TEXT' },
    })
    const rows = await texts(page, 1)
    const [{ text, from }] = await inbox(simulator)
    await rows.getByRole('button', { name: 'Play call' }).click()
    await rows.getByRole('button', { name: 'Stop call' }).click()
    await rows.getByRole('button', { name: 'Play call' }).waitFor()
    assert.deepEqual(await page.evaluate(() => window.spoken), ['cancel', [text, 'de-DE'], 'cancel'])
    // The sender is a number, and is there once.
    assert.equal((await rows.textContent()).split(from).length, 2)
  })

  test('the phone keeps its height, and its list scrolls', async (t) => {
    const simulator = await start(t)
    const { page } = await open(t, simulator, { viewport: { width: 320, height: 568 } })
    const height = () => page.locator('.phone').evaluate((phone) => phone.getBoundingClientRect().height)
    const before = await height()
    for (let count = 0; count < 8; count += 1) await sent(simulator)
    await texts(page, 8)
    assert.equal(await height(), before)
    assert.ok(before <= 568)
    const scrolls = await page.locator('#scroll').evaluate(({ scrollHeight, clientHeight }) => scrollHeight > clientHeight)
    assert.ok(scrolls)
  })

  test('a copy button shows that it has copied, and then its label again', async (t) => {
    await clipboard(t)
    const simulator = await start(t)
    const { page } = await open(t, simulator, { permissions: ['clipboard-write'] })
    await sent(simulator)
    const [row] = await (await texts(page, 1)).all()
    const copy = row.getByRole('button')
    await page.clock.install()
    for (let press = 0; press < 2; press += 1) {
      await copy.click()
      await eventually(async () => assert.equal(await copy.textContent(), 'Copied'))
      await page.clock.runFor(500)
    }
    await page.clock.runFor(10_000)
    assert.equal(await copy.textContent(), 'Copy')

    // If the browser does not let the page copy, the code is selected.
    await page.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')) })
    await copy.click()
    await eventually(async () => assert.equal(await copy.textContent(), 'Selected'))
    const [{ code }] = await inbox(simulator)
    assert.equal(await page.evaluate(() => getSelection().toString()), code)
    assert.match(await announced(page), /selected/)
  })

  test('a new message is announced', async (t) => {
    const simulator = await start(t)
    await sent(simulator)
    const { page } = await open(t, simulator)
    await texts(page, 1)
    const region = page.locator('[aria-live=polite]')
    assert.equal(await region.count(), 1)
    assert.equal(await region.getAttribute('role'), 'status')
    // Visible to a screen reader, and silent about messages that were there before.
    assert.ok(await region.evaluate((element) =>
      element.checkVisibility({ checkVisibilityCSS: true }) && !element.closest('[aria-hidden]')))
    assert.equal(await announced(page), '')

    for (const [brandName, destinationNumber] of [['First', '+819012345678'], ['Second', '+819012345679']]) {
      await sent(simulator, { brandName, destinationNumber })
      const [{ code }] = await inbox(simulator)
      const sentence = `New text from ${brandName} to ${destinationNumber}. The code is ${[...code].join(' ')}.`
      await eventually(async () => assert.equal(await announced(page), sentence))
    }

    // The focus does not move.
    const copy = (await texts(page, 3)).first().getByRole('button')
    await copy.focus()
    const name = await copy.getAttribute('aria-label')
    await sent(simulator)
    await texts(page, 4)
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), name)
  })

  for (const colorScheme of ['light', 'dark']) {
    test(`axe finds no faults, ${colorScheme}`, async (t) => {
      const simulator = await start(t)
      const { page } = await open(t, simulator, { colorScheme })
      const background = await page.evaluate(() => getComputedStyle(document.querySelector('.screen')).backgroundColor)
      const brightness = Math.max(...background.match(/\d+/g).map(Number))
      assert.ok(colorScheme === 'light' ? brightness > 200 : brightness < 60, background)
      // axe cannot judge contrast on a gradient, so each end of the gradient is checked instead.
      const ground = (color) => page.evaluate((value) => { document.body.style.background = value }, `var(${color})`)
      const check = async (what) => {
        for (const [viewport, end] of [[wide, '--page'], [narrow, '--page-glow']]) {
          await page.setViewportSize(viewport)
          await ground(end)
          const { faults, passed } = await accessibilityFaults(page)
          assert.deepEqual(faults, [], `${what} at ${viewport.width} pixels`)
          for (const rule of ['color-contrast', 'target-size', 'html-has-lang']) assert.ok(passed.includes(rule), rule)
        }
      }
      await check('the empty page')

      for (const language of languages) await sent(simulator, { language })
      await texts(page, languages.length)
      // axe cannot judge what a list has scrolled away, so only the newest request is open.
      for (const summary of await page.locator('.panel > summary').all()) await summary.click()
      await page.locator('.call > summary').first().click()
      await page.getByRole('button', { name: 'Queue' }).click()
      await page.getByRole('button', { name: 'Back to normal' }).waitFor()
      await check('messages')

      await page.getByRole('button', { name: '+1 h' }).click()
      await page.locator('.late').first().waitFor()
      await check('expired messages')

      // The control: the check finds faults.
      await page.evaluate(() => {
        document.querySelector('.body').style.color = '#888'
        document.querySelector('.body').style.background = '#999'
        document.querySelector('#failure').parentElement.firstChild.remove()
        document.querySelector('.body').lang = 'no language'
      })
      const { faults } = await accessibilityFaults(page)
      for (const rule of ['color-contrast', 'select-name', 'valid-lang']) {
        assert.ok(faults.some((fault) => fault.startsWith(rule)), `${rule} is not in: ${faults}`)
      }
    })
  }

  test('the page reconnects when the simulator comes back', async (t) => {
    let simulator = await start(t)
    // The browser reports each failed attempt.
    const { page } = await open(t, simulator, { expected: [/^console: Failed to load resource: net::ERR_/] })
    await page.evaluate(() => { window.stillHere = true })
    await sent(simulator, { brandName: 'Before' })
    await texts(page, 1)
    await page.getByText('Clock and failures').click()

    const { phone } = simulator
    await simulator.stop()
    await page.getByText('The simulator does not answer. Trying again…').first().waitFor()
    assert.equal(await page.locator('#live.on').count(), 0)
    assert.equal(await announced(page), 'The simulator does not answer. Trying again…')
    // The messages stay on the page, and an action says that it failed.
    await texts(page, 1)
    await page.evaluate(() => { document.querySelector('#news').textContent = '' })
    await page.getByRole('button', { name: '+1 h' }).click()
    await eventually(async () => assert.match(await announced(page), /does not answer/))

    simulator = await start(t, { port: new URL(phone).port })
    assert.equal(simulator.phone, phone, 'the port was taken in the meantime')
    await live(page)
    // The new simulator does not have the old messages.
    await page.getByRole('heading', { name: 'No texts yet' }).waitFor()
    await sent(simulator, { brandName: 'After' })
    const rows = await texts(page, 1)
    assert.equal(await rows.first().getByRole('heading').textContent(), 'After')
    assert.equal(await page.evaluate(() => window.stillHere), true, 'the page was reloaded')
  })

  test('the page reconnects after a response that is not a stream', async (t) => {
    const simulator = await start(t)
    const expected = [/^console: Failed to load resource: .* 503/, /^console: .*EventSource/]
    const { page } = await open(t, simulator, { expected })
    await page.route('**/inbox/updates', (route) => route.fulfill({ status: 503, body: 'later' }), { times: 1 })
    await page.goto(`${simulator.phone}/`)
    await page.getByText('The simulator does not answer. Trying again…').first().waitFor()
    await live(page)
    await sent(simulator)
    await texts(page, 1)
  })
})
