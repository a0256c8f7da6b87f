"""How the page looks: fonts of the visitor's own system, large enough to touch, one column on a phone."""

from gradio.themes import Default

FONTS = ("system-ui", "sans-serif")
"""Names only: nothing is fetched from other servers."""
THEME = Default(primary_hue="blue", font=FONTS, font_mono=("ui-monospace", "monospace"))
CSS = """
#status {border-left: 4px solid #0072b2; padding-left: 10px; min-height: 1.6em}
.legend {display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 4px 0}
.legend .entry {display: inline-flex; align-items: center; gap: 6px}
.legend i {width: 16px; height: 16px; border: 1px solid #5a5a5a; display: inline-block}
#examples .grid-wrap {min-height: 0; max-height: none; padding-top: 34px}
#examples, #examples .gallery-container {height: auto !important}
button:focus-visible, input:focus-visible, a:focus-visible, [tabindex]:focus-visible {
  outline: 3px solid #d55e00 !important; outline-offset: 2px
}
#cracks th, #cracks td, #cracks th * {overflow-wrap: normal !important; word-break: keep-all !important}
#cracks th {min-width: 50px}
#cracks th, #cracks th * {font-size: 12px !important; font-family: var(--font) !important; letter-spacing: 0 !important}
footer {display: none !important}
@media (max-width: 640px) {
  .gradio-container {padding: 8px !important}
  button.sm, button.lg {min-height: 44px}
}
"""
