"""The page of a run's report: HTML, style, and the few lines of script behind the slider.

Jinja2 escapes every name; only the charts, which `run_charts` made, go in as they are.
"""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --warn: #d9822b; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: .5rem 0; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin: 1.5rem 0 .3rem; font-size: 1.05rem; overflow-wrap: anywhere; }
nav a { display: inline-block; margin: 0 1rem .4rem 0; }
.facts { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; list-style: none; }
.facts li { background: var(--soft); border-radius: .5rem; padding: .4rem .8rem; }
.facts b { display: block; font-size: 1.25rem; }
.warning { border-left: .3rem solid var(--warn); background: var(--soft); padding: .6rem 1rem; }
.warning p { margin: .2rem 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr));
  gap: 1.5rem; }
.grid h3 { margin-top: 0; } .grid p { margin: .2rem 0; font-size: .9rem; }
figure { margin: 0 0 1rem; } figcaption { font-size: .9rem; overflow-wrap: anywhere; }
[hidden] { display: none !important; }
img, svg { max-width: 100%; height: auto; display: block; }
img { background: #000; border-radius: .25rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
.wide { min-width: 56rem; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr));
  gap: 0 1.5rem; }
caption { text-align: left; padding: .3rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: break-word; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.model { font-weight: 600; }
input[type=range] { width: 100%; accent-color: #3b82d6; }
code, pre { font-size: .85rem; overflow-wrap: anywhere; white-space: pre-wrap; }
.panels { display: grid; grid-template-columns: repeat(4, 1fr); font-size: .8rem;
  text-align: center; }
"""

# Without the script the slider does nothing and the last sheet is shown.
SCRIPT = """
const slider = document.getElementById("sheet");
if (slider) {
  const sheets = document.querySelectorAll("[data-sheet]");
  const show = () => {
    sheets.forEach((sheet, i) => { sheet.hidden = i !== Number(slider.value); });
    const step = sheets[slider.value].dataset.sheet;
    slider.setAttribute("aria-valuetext", "step " + step);
    document.getElementById("sheet-step").textContent = step;
  };
  slider.addEventListener("input", show);
  show();
}
"""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline';
  script-src 'unsafe-inline'">
<title>Training report: {{ name }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<header>
<h1>Training report: {{ name }}</h1>
<p>T1 ↔ T2 brain MRI translation. Research only; not a medical device. This file holds pictures of
the training data: hand it on only where the data may go.</p>
<ul class="facts">
{% for label, value in facts %}<li>{{ label }} <b>{{ value }}</b></li>{% endfor %}
</ul>
<nav aria-label="Sections">{% for id, title in sections %}
<a href="#{{ id }}">{{ title }}</a>{% endfor %}</nav>
</header>
<main>
{% if warnings %}<div class="warning" role="note">{% for text in warnings %}
<p>{{ text }}</p>{% endfor %}</div>{% endif %}

<h2 id="data">Data as found</h2>
{% if data.simulated %}<p>Simulated pairs are drawn from
{{ data.simulated.maps | counted("label map") }}
({{ data.simulated.origin }}).</p>{% endif %}
{% if data.get("paired") %}<p>{{ data.paired.pairs | counted("pair") }} of real slices, of
{{ data.paired.sources | join(", ") }}.</p>{% endif %}
{% if data.sources %}
<p>A source is a folder and the beginning of the file names. Sizes and spacings are counted over the
files that were looked at for this report, at most {{ looked_at }} of a source and contrast; spacing
is rows x columns x slices.</p>
<div class="scroll" tabindex="0"><table class="wide">
<caption>Sources</caption>
<thead><tr><th scope="col">source</th><th scope="col">contrast</th><th scope="col">used for</th>
<th scope="col" class="number">files</th><th scope="col" class="number">slices</th>
<th scope="col">matrix</th><th scope="col">spacing, mm</th></tr></thead>
<tbody>{% for s in data.sources %}
<tr><th scope="row">{{ s.source }}</th><td>{{ s.contrast }}</td>
<td>{{ "judging" if s.judged else "training" }}</td>
<td class="number">{{ s.files }}</td>
<td class="number">{{ s.slices }}{% if s.decoded < s.files %}
in {{ s.decoded }} files{% endif %}</td>
<td>{{ s.matrices | most }}</td><td>{{ s.spacings | most }}</td></tr>{% endfor %}
</tbody></table></div>

<h3>Intensities inside the head</h3>
<p>After scaling, as the networks see them. Sources whose curves differ were exported in different
windows. That is fine as long as T1 and T2 both hold each kind; if only one does, the networks learn
the window instead of the contrast.</p>
<div class="grid">{% for h in histograms %}<figure>{{ h.svg | safe }}
<figcaption>{{ h.name }}</figcaption></figure>{% endfor %}</div>

<h3>Examples</h3>
<p>Look for what does not belong: another contrast, a head upside down or mirrored, another plane,
burnt-in text.</p>
<div class="pairs">{% for s in data.sources if s.examples %}<figure>
<img src="{{ s.examples | picture }}" alt="Example slices of {{ s.source }}, {{ s.contrast }}">
<figcaption>{{ s.source }}, {{ s.contrast }}</figcaption></figure>{% endfor %}</div>

<h3>Left out, copied, leaked</h3>
{% if data.skipped %}<details><summary>{{ data.skipped | length | counted("file") }}
could not be used</summary><ul>
{% for text in data.skipped %}<li>{{ text }}</li>{% endfor %}</ul></details>
{% else %}<p>Every file could be read.</p>{% endif %}
{% if data.copies %}<details><summary>{{ data.counts.copies | counted("group") }}
of files with the same content</summary><ul>
{% for group in data.copies %}<li>{{ group.files | join(", ") }}
{%- if group.leak %}: <strong>training and judging</strong>{% endif %}
{%- if group.contrasts %}: <strong>as T1 and as T2</strong>{% endif %}</li>
{% endfor %}</ul></details>
{% else %}<p>No two files are the same.</p>{% endif %}
{% if data.leaks %}<details open><summary>{{ data.counts.leaks | counted("slice") }}
to judge by, too like training slices</summary><ul>
{% for leak in data.leaks %}<li>{{ leak.pair }} and
{{ leak.training }}:
{{ "the same file" if leak.same_bytes else "likeness %.4f" | format(leak.likeness) }}</li>
{% endfor %}</ul></details>
{% elif judged %}<p>No slice to judge by looks like one of the training slices that were compared.
This finds copies in another format, size or window, but not other slices of the same person: keep
people apart yourself.</p>{% endif %}
{% elif not data.simulated %}<p>This run left no record of its data.</p>{% endif %}

<h2 id="losses">Losses</h2>
{% if losses %}<p>Losses say whether training is stable, not whether the images are right: that is
for validation and for your eyes. Each batch is different, so look at the trend.</p>
<div class="grid">{% for chart in losses %}<figure><h3>{{ chart.name }}</h3>
{{ chart.svg | safe }}
<figcaption>{{ chart.note }}</figcaption></figure>{% endfor %}</div>
{% else %}<p>Nothing logged yet.</p>{% endif %}

<h2 id="validation">Validation</h2>
{% if validation %}<p>Paired slices that training never sees, every third one, translated by the
averaged generators. Higher is better. Choose a run by these curves, not by its losses; when they
fall while the losses go on falling, it trained too long or on too few people.</p>
<div class="grid">{% for chart in validation %}<figure><h3>{{ chart.name }}</h3>
{{ chart.svg | safe }}
<figcaption>{{ chart.note }}</figcaption></figure>{% endfor %}</div>
{% else %}<p>No validation: give <code>--val PAIRS</code>, a folder with T1/ and T2/ whose equal
file names are the same slices. Even one person tells more than any loss.</p>{% endif %}

<h2 id="samples">Samples over time</h2>
{% if samples %}<p>The same slices at each step. Rows: real T1, its synthetic T2, the way back;
then real T2, its synthetic T1, the way back. A perfect way back with a wrong translation in
between is what to look out for.</p>
<label for="sheet">Step <output id="sheet-step">{{ samples[-1].step }}</output></label>
<input id="sheet" type="range" min="0" max="{{ samples | length - 1 }}"
  value="{{ samples | length - 1 }}">
{% for sheet in samples %}<img data-sheet="{{ sheet.step }}" src="{{ sheet.picture }}"
  alt="Source, translation and cycle of sample slices at step {{ sheet.step }}"
  {% if not loop.last %}hidden{% endif %}>
{% endfor %}{% else %}<p>No sample sheet yet.</p>{% endif %}

<h2 id="evaluation">Final evaluation</h2>
{% if evaluation %}<p>All {{ evaluation.slices }} pairs of {{ evaluation.pairs }}, mean over
{{ evaluation.sources | length }} sources, inside the head. What the run made must beat the two
baselines; SSIM and gradient correlation count structure, PSNR and mean absolute error grey values.
</p>
{% for to, given in directions %}<div class="scroll" tabindex="0"><table>
<caption>{{ given }} → {{ to }}</caption>
<thead><tr><th scope="col">translation</th><th scope="col" class="number">SSIM</th>
<th scope="col" class="number">95 % interval</th><th scope="col" class="number">PSNR, dB</th>
<th scope="col" class="number">MAE</th><th scope="col" class="number">gradient corr.</th>
{% for source in evaluation.sources %}<th scope="col" class="number">SSIM
{{ source }}</th>{% endfor %}
</tr></thead><tbody>
{% for name, scores in evaluation.predictors.items() %}{% set mean = scores[to].mean %}
<tr{% if name == model %} class="model"{% endif %}><th scope="row">{{ name }}</th>
<td class="number">{{ "%.3f" | format(mean.ssim) }}</td>
<td class="number">{{ "%.3f to %.3f" | format(*mean.ssim_interval) }}</td>
<td class="number">{{ "%.1f" | format(mean.psnr) }}</td>
<td class="number">{{ "%.3f" | format(mean.mae) }}</td>
<td class="number">{{ "%.2f" | format(mean.gradient_correlation) }}</td>
{% for source in evaluation.sources %}<td class="number">{{
  "%.3f" | format(scores[to].sources[source].ssim) }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>{% endfor %}
{% set l = evaluation.predictors[model].get("lesions", {"lesions": 0}) %}
{% if l.lesions %}<p>Of {{ l.lesions }} lesions in T1 → T2, {{ "%.0f" | format(100 * l.kept) }} %
kept at least half of their contrast, {{ "%.0f" | format(100 * l.lost) }} % were lost and
{{ "%.0f" | format(100 * l.inverted) }} % inverted.{% set v = l.get("in_source") %}
{% if v and v.lesions %}
Of the {{ v.lesions }} that the T1 shows as dark, {{ "%.0f" | format(100 * v.kept) }} % were kept,
{{ "%.0f" | format(100 * v.inverted) }} % inverted.{% endif %}</p>{% endif %}
{% if evaluation.skipped %}<details><summary>{{ evaluation.skipped | length | counted("file") }}
left out</summary><ul>
{% for text in evaluation.skipped %}<li>{{ text }}</li>{% endfor %}</ul></details>
{% endif %}
<h3>Worst cases</h3>
<p>The lowest SSIM in each direction: where a reader would be misled first.</p>
{% for case in evaluation.worst %}<figure><div class="panels" aria-hidden="true"><span>source</span>
<span>translation</span><span>truth</span><span>|error|</span></div>
<img src="{{ case.image | picture }}"
  alt="Source, translation, truth and absolute error of {{ case.name }}, to {{ case.to }}">
<figcaption>{{ case.name }}, to {{ case.to }}: SSIM {{ "%.3f" | format(case.ssim) }}</figcaption>
</figure>{% endfor %}
{% else %}<p>Not judged: the run is not finished, or no <code>--val PAIRS</code> was given.</p>
{% endif %}

<h2 id="settings">Settings and environment</h2>
{% if run %}
{% for start in run.starts %}<pre>{{ start.time }}  {{ start.command }}</pre>{% endfor %}
<div class="scroll" tabindex="0"><table><caption>Environment</caption><tbody>
<tr><th scope="row">device</th><td>{{ run.device }}</td></tr>
<tr><th scope="row">processes, threads of each</th>
<td>{{ run.processes }}, {{ run.threads }}</td></tr>
<tr><th scope="row">precision</th><td>{{ run.precision }}</td></tr>
<tr><th scope="row">system</th><td>{{ run.system }}</td></tr>
{% for name, number in run.versions.items() %}<tr><th scope="row">{{ name }}</th>
<td>{{ number }}</td></tr>{% endfor %}</tbody></table></div>
<details><summary>All settings (reasons: cyclegan/training/config.py)</summary>
<div class="scroll" tabindex="0"><table><tbody>{% for name, value in run.config.items() %}
<tr><th scope="row">{{ name }}</th>
<td>{{ value }}</td></tr>{% endfor %}</tbody></table></div></details>
{% else %}<p>This run left no record of its settings.</p>{% endif %}
</main>
<script>{{ script | safe }}</script>
</body>
</html>
"""
