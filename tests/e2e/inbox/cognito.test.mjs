// Tests of examples/cognito-web in a browser, as the desk serves it at /cognito/, and of the desk's tab around it.
//
//   OTP_E2E_INBOX=target/e2e/inbox node --test tests/e2e/inbox/cognito.test.mjs
//
// Each test has its own desk, whose user pool calls the triggers of the real function.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe } from 'node:test'

import { accessibilityFaults, browser, eventually, layoutFaults, narrow, start, tabTo, test, wide } from './tools.mjs'

const user = '+14255550142'
const stranger = '+14255550143'

/** Starts a desk and opens a page of it. The test fails if the page has an error or calls anything but the desk. */
async function visit(t, path, { viewport = wide, colorScheme = 'light', clock = false } = {}) {
  const desk = await start(t, { settings: ['COGNITO_FLOOR_MS=0'] })
  const context = await browser.newContext({ viewport, colorScheme, locale: 'en-US', reducedMotion: 'reduce' })
  context.setDefaultTimeout(30_000)
  const page = await context.newPage()
  const wrong = []
  page.on('console', (message) => {
    // Refusals of the pool are responses with status 400.
    const isRefusal = /^Failed to load resource: the server responded/.test(message.text())
    if (['error', 'warning'].includes(message.type()) && !isRefusal) wrong.push(`console: ${message.text()}`)
  })
  page.on('pageerror', (error) => wrong.push(`thrown: ${error}`))
  page.on('request', (request) => {
    if (![`${desk.phone}/`, `${desk.api}/otp/`, 'data:'].some((own) => request.url().startsWith(own))) wrong.push(`request: ${request.url()}`)
  })
  t.finally(async () => {
    await context.close()
    assert.deepEqual(wrong, [])
  })
  // The clock of the page stands still, so that a slow machine ends no wait.
  const now = Date.now()
  if (clock) await page.clock.setFixedTime(now)
  await page.goto(`${desk.phone}${path}`)
  return { desk, page, now }
}

const ready = (page) => page.locator('html[data-ready]').waitFor({ state: 'attached' })
const codes = async (desk, number) =>
  (await (await fetch(`${desk.phone}/inbox?to=${encodeURIComponent(number)}`)).json()).messages.map(({ code }) => code)
const wrongGuess = (code) => (code === '000000' ? '111111' : '000000')
const focused = (page) => page.evaluate(() => document.activeElement.id)

async function begin(page, number, button = 'Sign in') {
  await page.getByLabel('Phone number').fill(number)
  await page.getByRole('button', { name: button, exact: true }).click()
  await page.getByRole('heading', { name: 'Enter the code' }).waitFor()
}

async function enter(page, code) {
  await page.getByLabel('Code', { exact: true }).fill(code)
  await page.getByRole('button', { name: 'Continue' }).click()
}

const complaint = (page, text) =>
  eventually(async () => assert.equal(await page.getByRole('alert').filter({ visible: true, hasText: /./ }).textContent(), text))
const sentTo = (page, text) => eventually(async () => assert.equal(await page.locator('#sent-to').textContent(), text))
const signedIn = (page) => page.getByRole('heading', { name: 'You are signed in' }).waitFor()

/** Moves the clocks of the desk and of the page past every wait for the next message. Returns the page's new time. */
async function later(desk, page, now) {
  const seconds = 120
  const answer = await fetch(`${desk.phone}/simulator/clock`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ advanceSeconds: seconds }),
  })
  assert.ok(answer.ok, await answer.text())
  await page.clock.setFixedTime(now + seconds * 1000)
  return now + seconds * 1000
}

describe('sign in with Cognito', { concurrency: 2 }, () => {
  test('a person signs in by keyboard, after a wrong answer and a lost session', async (t) => {
    const { desk, page } = await visit(t, '/cognito/')
    await ready(page)
    await page.evaluate(() => document.addEventListener('signed-in', ({ detail }) => { window.tokens = detail }))
    await tabTo(page, page.getByLabel('Phone number'))
    await page.keyboard.type('+1 (425) 555-0142')
    await page.keyboard.press('Enter')
    await sentTo(page, 'We sent a code to +*******42.')
    await eventually(async () => assert.equal(await focused(page), 'code'))
    const [code] = await codes(desk, user)
    await page.keyboard.type(wrongGuess(code))
    await page.keyboard.press('Enter')
    await complaint(page, 'This code is not right.')
    assert.equal(await page.locator('#attempts').textContent(), 'Attempts left: 2')
    // Another length costs no attempt.
    await enter(page, code.slice(1))
    await complaint(page, 'The code has 6 characters.')
    assert.equal(await page.locator('#attempts').textContent(), 'Attempts left: 2')

    await page.reload()
    await ready(page)
    await page.evaluate(() => document.addEventListener('signed-in', ({ detail }) => { window.tokens = detail }))
    await begin(page, user)
    await sentTo(page, 'Enter the code that we sent to +*******42.')
    await enter(page, code)
    await signedIn(page)
    await eventually(async () => assert.equal(await focused(page), 'done-title'))
    assert.equal(await page.locator('#signed-in-as').textContent(), user)
    assert.deepEqual(Object.keys(await page.evaluate(() => window.tokens)), ['IdToken', 'AccessToken', 'RefreshToken'])
    assert.equal((await codes(desk, user)).length, 1)
  })

  test('an unknown user sees a sign-in that never succeeds, until it ends', async (t) => {
    const { desk, page } = await visit(t, '/cognito/')
    await ready(page)
    await begin(page, stranger)
    await sentTo(page, 'We sent a code to +*******43.')
    for (const left of [2, 1]) {
      await enter(page, '123456')
      await eventually(async () => assert.equal(await page.locator('#attempts').textContent(), `Attempts left: ${left}`))
    }
    await enter(page, '123456')
    await complaint(page, 'This code is no longer good. Start over.')
    await eventually(async () => assert.equal(await focused(page), 'start-over'))
    assert.equal(await page.getByLabel('Code', { exact: true }).isDisabled(), true)
    assert.deepEqual(await codes(desk, stranger), [])
  })

  test('a new code comes when the time has come', async (t) => {
    const { desk, page, now } = await visit(t, '/cognito/', { clock: true })
    await ready(page)
    await begin(page, user)
    const again = page.getByRole('button', { name: 'Send a new code' })
    assert.equal(await again.isDisabled(), true)
    assert.match(await page.locator('#countdown').textContent(), /^You can ask for a new code in \d+ seconds\.$/)
    await later(desk, page, now)
    await again.click()
    await eventually(async () => assert.equal(await page.getByRole('status').textContent(), 'We sent a new code.'))
    const all = await codes(desk, user)
    assert.equal(all.length, 2)
    await enter(page, all[0])
    await signedIn(page)
  })

  test('a stranger signs up with a verified number, and signs in', async (t) => {
    const { desk, page, now } = await visit(t, '/cognito/', { clock: true })
    await ready(page)
    await page.getByRole('button', { name: 'Create an account' }).click()
    await begin(page, stranger, 'Send code')
    const [code] = await codes(desk, stranger)
    await enter(page, wrongGuess(code))
    await complaint(page, 'This code is not right.')
    await enter(page, code)
    await page.getByRole('heading', { name: 'Your account is ready' }).waitFor()
    const first = page.getByRole('button', { name: 'Sign in now' })
    assert.equal(await first.isDisabled(), true, 'the message of the sign-up counts')
    const afterwards = await later(desk, page, now)
    await first.click()
    await sentTo(page, 'We sent a code to +*******43.')
    await enter(page, (await codes(desk, stranger))[0])
    await signedIn(page)
    // The number has an account now.
    await later(desk, page, afterwards)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('button', { name: 'Create an account' }).click()
    await begin(page, stranger, 'Send code')
    await enter(page, (await codes(desk, stranger))[0])
    await complaint(page, 'This number has an account. Sign in instead.')
  })

  test('the tab of the desk plays the page, and offers each event as a file', async (t) => {
    const { desk, page } = await visit(t, '/')
    await page.locator('#live.on').waitFor()
    const tab = page.getByRole('tab', { name: 'Cognito' })
    await tabTo(page, page.getByRole('tab', { name: 'The desk' }))
    await page.keyboard.press('ArrowRight')
    assert.equal(await tab.getAttribute('aria-selected'), 'true')
    assert.equal(await focused(page), 'tab-pool')
    assert.equal(await page.locator('#panel-desk').isVisible(), false)
    assert.equal(await page.locator('#pool-user').textContent(), user)
    const frame = page.frameLocator('#pool-page')
    await begin(frame, user)
    const rows = page.locator('#triggers > li')
    await eventually(async () => assert.equal(await rows.count(), 2))
    await page.getByRole('button', { name: 'Lose the session' }).click()
    await begin(frame, user)
    await eventually(async () => assert.equal(await frame.locator('#sent-to').textContent(), 'Enter the code that we sent to +*******42.'))
    await enter(frame, (await codes(desk, user))[0])
    await signedIn(frame)
    await eventually(async () => assert.equal(await rows.count(), 6))
    const told = await rows.locator('summary').allTextContents()
    for (const [place, words] of [[0, /definetokens/], [1, /verifyright/], [2, /createadopted/], [4, /createsent/]]) assert.match(told[place], words)

    await rows.nth(1).locator('summary').click()
    const save = rows.nth(1).getByRole('link', { name: 'Save the event' })
    const [download] = await Promise.all([page.waitForEvent('download'), save.click()])
    assert.equal(download.suggestedFilename(), 'cognito.verify.5.event.json')
    const event = JSON.parse(readFileSync(await download.path(), 'utf8'))
    assert.equal(event.triggerSource, 'VerifyAuthChallengeResponse_Authentication')
    assert.deepEqual(JSON.parse(await rows.nth(1).locator('pre').first().textContent()), event)
    assert.equal(JSON.parse(await rows.nth(1).locator('pre').last().textContent()).response.answerCorrect, true)

    await page.keyboard.press('Home')
    await tab.press('ArrowLeft')
    assert.equal(await page.locator('#panel-desk').isVisible(), true)
  })

  for (const colorScheme of ['light', 'dark']) {
    test(`axe and the layout find no faults, ${colorScheme}`, async (t) => {
      const { desk, page } = await visit(t, '/cognito/', { colorScheme })
      const check = async (what) => {
        for (const viewport of [wide, narrow, { width: 320, height: 568 }]) {
          await page.setViewportSize(viewport)
          assert.deepEqual(await layoutFaults(page), [], `${what} at ${viewport.width} pixels`)
        }
        const { faults, passed } = await accessibilityFaults(page)
        assert.deepEqual(faults, [], what)
        for (const rule of ['color-contrast', 'target-size', 'html-has-lang']) assert.ok(passed.includes(rule), rule)
      }
      await ready(page)
      await page.getByRole('button', { name: 'Sign in', exact: true }).click()
      await complaint(page, 'Enter your phone number with a plus and the country code, such as +1 425 555 0142.')
      await check('a refused number')
      await begin(page, user)
      const [code] = await codes(desk, user)
      await enter(page, wrongGuess(code))
      await complaint(page, 'This code is not right.')
      await check('a wrong code')
      await enter(page, code)
      await signedIn(page)
      await check('the end')

      await page.goto(`${desk.phone}/#cognito`)
      const rows = page.locator('#triggers > li')
      await eventually(async () => assert.ok((await rows.count()) > 4))
      await rows.nth(1).locator('summary').click()
      await rows.nth(1).getByRole('link', { name: 'Save the event' }).waitFor()
      await page.frameLocator('#pool-page').getByRole('heading', { name: 'Sign in' }).waitFor()
      // axe cannot judge contrast on a gradient, so each end of the gradient is checked instead.
      for (const end of ['--page', '--page-glow']) {
        await page.evaluate((color) => { document.body.style.background = `var(${color})` }, end)
        await check(`the tab on ${end}`)
      }

      // The control: the checks find faults.
      await page.evaluate(() => {
        document.documentElement.style.setProperty('--soft', getComputedStyle(document.querySelector('.panel')).backgroundColor)
        document.querySelector('#lose-session').style.minWidth = '50rem'
      })
      assert.ok((await layoutFaults(page)).length > 0)
      const { faults } = await accessibilityFaults(page)
      assert.ok(faults.some((fault) => fault.startsWith('color-contrast')), `${faults}`)
    })
  }
})
