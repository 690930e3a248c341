// Shared by the tests in a browser: the browser, the simulator, and the checks of layout and accessibility.
//
// OTP_E2E_INBOX is the folder where tests/e2e/setup.sh installed the packages. OTP_E2E_SIMULATOR is the simulator's binary
// (default: target/debug/simulator). Chromium must be on PATH.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join, resolve } from 'node:path'
import { after, before, test as nodeTest } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..')
assert.ok(process.env.OTP_E2E_INBOX, 'OTP_E2E_INBOX is not set: tests/e2e/setup.sh writes it to target/e2e/env')
const installed = createRequire(join(resolve(process.env.OTP_E2E_INBOX), 'package.json'))
const { chromium } = installed('playwright-core')
const axe = readFileSync(installed.resolve('axe-core/axe.min.js'), 'utf8')

const binary = resolve(process.env.OTP_E2E_SIMULATOR ?? join(root, 'target/debug/simulator'))
assert.ok(existsSync(binary), `there is no ${binary}: cargo build -p simulator`)

export const narrow = { width: 375, height: 667 }
export const wide = { width: 1280, height: 900 }

export let browser
/** The running simulators. */
const running = new Set()
process.on('exit', () => { for (const child of running) child.kill('SIGKILL') })

before(async () => {
  browser = await chromium.launch({
    executablePath: onPath('chromium'),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-quic',
    ],
  })
})

after(async () => {
  for (const child of running) child.kill('SIGKILL')
  await browser?.close()
})

function onPath(program) {
  const found = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, program)).find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
  assert.ok(found, `there is no ${program} on PATH`)
  return found
}

/** A test with `t.finally(step)`: at the end, all steps run in reverse order, even if the test or a step fails. */
export function test(name, body) {
  nodeTest(name, { timeout: 60_000 }, async (t) => {
    const last = []
    const failures = []
    const attempt = async (step) => {
      try {
        await step()
      } catch (error) {
        failures.push(error)
      }
    }
    await attempt(() => body({ finally: (step) => last.unshift(step), diagnostic: (text) => t.diagnostic(text) }))
    for (const step of last) await attempt(step)
    if (failures.length > 1) throw new AggregateError(failures, failures.map(({ message }) => message).join('\n'))
    if (failures.length) throw failures[0]
  })
}

/** Repeats `attempt` until it does not throw. */
export async function eventually(attempt, milliseconds = 10_000) {
  const end = Date.now() + milliseconds
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() > end) throw error
    }
    await new Promise((done) => setTimeout(done, 20))
  }
}

/** Starts a simulator and stops it at the end of the test. */
export async function start(t, { port = 0, phoneOnly = false, settings = [] } = {}) {
  const service = phoneOnly ? ['--phone-only'] : ['--api-port', 0, ...settings.flatMap((setting) => ['--set', setting])]
  const child = spawn(binary, ['--port', port, ...service].map(String), { stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  const exited = new Promise((done) => child.once('exit', done).once('error', done))
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { said += data })
  const stop = async () => {
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), 5000)
    await exited
    clearTimeout(late)
    running.delete(child)
  }
  t.finally(stop)

  const address = (name) => said.match(new RegExp(`^ *${name} +(http://127\\.0\\.0\\.1:\\d+)\\s`, 'm'))?.[1]
  return eventually(() => {
    assert.equal(child.exitCode, null, `the simulator ended: ${said}`)
    const phone = address('phone')
    const api = address('API')
    assert.ok(phone && (api || phoneOnly), `no addresses in: ${said}`)
    return { phone, api, stop }
  })
}

/** Faults of the layout: sideways scrolling, text that is cut off, small print, small targets. */
export function layoutFaults(page) {
  return page.evaluate(() => {
    const faults = []
    const name = (element) => `${element.localName}${element.id && `#${element.id}`}.${element.className}`
    const html = document.documentElement
    if (html.scrollWidth > html.clientWidth) faults.push(`sideways: ${html.scrollWidth} > ${html.clientWidth}`)

    for (const element of document.body.querySelectorAll('*')) {
      if (!element.checkVisibility() || element.closest('.unseen, svg, script, style')) continue
      const style = getComputedStyle(element)
      if (style.display !== 'inline' && element.scrollWidth > element.clientWidth) {
        faults.push(`too wide: ${name(element)} ${element.scrollWidth} > ${element.clientWidth}`)
      }
      if (element.matches('a, button, select, summary, input, textarea')) {
        const { width, height } = element.getBoundingClientRect()
        if (width < 24 || height < 24) faults.push(`small target: ${name(element)} ${width} x ${height}`)
      }
      for (const node of element.childNodes) {
        if (node.nodeType !== Node.TEXT_NODE || !node.data.trim()) continue
        if (parseFloat(style.fontSize) < 14) faults.push(`small print: ${name(element)} ${style.fontSize}`)
        const range = document.createRange()
        range.selectNodeContents(node)
        const box = range.getBoundingClientRect()
        if (box.left < 0 || box.right > html.clientWidth + 0.5) faults.push(`off the page: ${node.data}`)
        let scrolls = false
        for (let parent = element; parent !== document.body; parent = parent.parentElement) {
          const { overflowX, overflowY } = getComputedStyle(parent)
          const edge = parent.getBoundingClientRect()
          scrolls ||= overflowY === 'auto' || overflowY === 'scroll'
          const aside = overflowX !== 'visible' && (box.left < edge.left - 0.5 || box.right > edge.right + 0.5)
          const below = overflowY !== 'visible' && !scrolls && (box.top < edge.top - 2 || box.bottom > edge.bottom + 2)
          // A select may cut off its choice.
          if ((aside || below) && !parent.matches('select')) faults.push(`cut off: ${node.data} by ${name(parent)}`)
        }
      }
    }
    return faults
  })
}

/** Faults that axe finds, and contrasts that it cannot judge. */
export async function accessibilityFaults(page) {
  await page.evaluate((source) => { if (!window.axe) (0, eval)(source) }, axe)
  return page.evaluate(async () => {
    const rules = { 'target-size': { enabled: true } }
    const { violations, incomplete, passes } = await window.axe.run(document, { rules })
    const undecided = incomplete.filter(({ id }) => id === 'color-contrast')
    return {
      faults: [...violations, ...undecided].flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary, any }) =>
        `${id}: ${target} ${failureSummary} ${any.map(({ message }) => message)}`)),
      passed: passes.map(({ id }) => id),
    }
  })
}

/** Presses Tab from the top of the page until the focus leaves the page. Returns the controls in that order. */
export async function tabOrder(page) {
  await page.evaluate(() => {
    document.body.tabIndex = -1
    document.body.focus()
    document.body.removeAttribute('tabindex')
    document.querySelectorAll('[data-stop]').forEach((element) => element.removeAttribute('data-stop'))
  })
  const stops = []
  for (;;) {
    await page.keyboard.press('Tab')
    const stop = await page.evaluate((number) => {
      const element = document.activeElement
      if (!element || element === document.body || element.dataset.stop) return null
      element.dataset.stop = number
      const style = getComputedStyle(element)
      const box = element.getBoundingClientRect()
      const middle = document.elementFromPoint(box.left + box.width / 2, box.top + Math.min(box.height, innerHeight) / 2)
      return {
        name: element.getAttribute('aria-label') ?? element.labels?.[0]?.firstChild.data ??
          (element.localName === 'pre' ? element.id : element.textContent),
        ringed: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 &&
          style.outlineColor !== 'rgba(0, 0, 0, 0)',
        inSight: element === middle || element.contains(middle),
      }
    }, stops.length)
    if (!stop) return stops
    stops.push(stop)
    assert.ok(stops.length < 60, 'Tab goes round in circles')
  }
}

/** The visible controls that `tabOrder` did not reach. */
export const unreached = (page) => page.evaluate(() =>
  [...document.querySelectorAll('a[href], button, select, summary, input, textarea, [tabindex="0"]')]
    // The arrows reach the other tab.
    .filter((element) => element.checkVisibility() && !element.dataset.stop && element.ariaSelected !== 'false')
    .map((element) => element.outerHTML))

/** Presses Tab until the control has the focus. */
export async function tabTo(page, control) {
  for (let presses = 0; presses < 60; presses += 1) {
    if (await control.evaluate((element) => element === document.activeElement)) return
    await page.keyboard.press('Tab')
  }
  assert.fail(`Tab does not reach ${control}`)
}
