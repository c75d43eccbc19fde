/* Draws a sweep's curves, a small chart a combination on axes that all share, and tells the values
 * of one epoch in all of them: that which the pointer is at, or a slider. Charts are drawn while
 * they are in sight. */
(function () {
    'use strict';

    const { data, formats, ticks, colour, limit, axis, line, keepDrawn } = page;
    const { epochs, curves } = data;
    const grid = document.querySelector('.multiples');
    if (!grid)
        return;

    const measures = {
        accuracy: { columns: ['train_accuracy', 'val_accuracy'], format: 'percent' },
        loss: { columns: ['train_loss', 'val_loss'], format: 'number' },
    };
    const names = ['train', 'val.'], strokes = ['first', 'second'];
    const validated = curves.some((curve) => curve.mean.val_loss.length);
    let measure = measures.accuracy;

    /* --- controls --- */

    const select = document.createElement('select');
    for (const name of Object.keys(measures))
        select.append(new Option(name, name));
    const slider = document.createElement('input');
    Object.assign(slider, { type: 'range', min: 0, max: epochs.length - 1, step: 1 });
    slider.value = epochs.length - 1;
    const epoch = document.createElement('output');

    function element(name, className, ...content) {
        const made = document.createElement(name);
        made.className = className;
        made.append(...content);
        return made;
    }

    /* --- charts --- */

    /* What the axes have to hold: the curves of complete rows, or of all where none is. */
    function limits() {
        const all = curves.flatMap((curve) => [curve.mean, ...curve.seeds]);
        const complete = all.filter((series) => series.complete);
        const values = (complete.length ? complete : all)
            .flatMap((series) => measure.columns.flatMap((column) => series[column]))
            .filter((value) => value !== null);
        return {
            min: values.reduce((a, b) => Math.min(a, b), Infinity),
            max: values.reduce((a, b) => Math.max(a, b), -Infinity),
        };
    }
    let extent = limits();

    /* A line that never moves gets the middle of an axis from 0, and beyond it where it is none. */
    function setExtent(scale) {
        const flat = extent.min === extent.max;
        scale.min = flat ? Math.min(0, 2 * extent.min) : extent.min;
        scale.max = flat ? Math.max(0, 2 * extent.max) || 1 : extent.max;
        limit(scale, ticks[measure.format]);
    }

    function setEnds(scale) {
        scale.ticks = [{ value: scale.min }, { value: scale.max }];
    }

    const cursor = {
        id: 'cursor',
        beforeDatasetsDraw({ ctx, chartArea: area, scales: { x } }) {
            const at = x.getPixelForValue(epochs[slider.value]);
            ctx.save();
            ctx.lineWidth = 1;
            ctx.strokeStyle = colour('faint');
            ctx.beginPath();
            ctx.moveTo(at, area.top);
            ctx.lineTo(at, area.bottom);
            ctx.stroke();
            ctx.restore();
        },
    };

    function points(values) {
        return values.map((y, i) => ({ x: epochs[i], y: y === null ? NaN : y }));
    }

    function lines(curve) {
        const faint = { borderWidth: 1, pointRadius: 0 };
        return measure.columns.flatMap((column, i) => {
            const stroke = colour(strokes[i]);
            return [line(names[i], points(curve.mean[column]), stroke)].concat(curve.seeds.map(
                (seed) => line(names[i], points(seed[column]), stroke + '59', faint)));
        });
    }

    function draw(canvas, curve) {
        const small = { maxTicksLimit: 4, padding: 4, font: { size: 10 } };
        return new Chart(canvas, {
            type: 'line',
            data: { datasets: lines(curve) },
            options: {
                parsing: false,
                normalized: true,
                events: [],
                scales: {
                    x: Object.assign(axis(ticks.count, Object.assign({ precision: 0 }, small)), {
                        type: 'linear',
                        min: epochs[0],
                        max: Math.max(epochs[epochs.length - 1], epochs[0] + 1),
                        afterBuildTicks: setEnds,
                    }),
                    y: Object.assign(axis(ticks[measure.format], small),
                        { afterDataLimits: setExtent }),
                },
                plugins: { legend: { display: false }, tooltip: { enabled: false } },
            },
            plugins: [cursor],
        });
    }

    /* --- together --- */

    const panels = curves.map((curve) => {
        const figure = grid.querySelector('[data-index="' + curve.index + '"]');
        return {
            curve,
            values: figure.querySelector('.values'),
            canvas: figure.querySelector('canvas'),
            inSight: false,
        };
    });
    for (const panel of panels)
        panel.redraw = keepDrawn(() => panel.inSight ? [draw(panel.canvas, panel.curve)] : []);

    /* "train 98.12% val. 97.30%"; of a curve that had ended, its last values, and their epoch. */
    function texts(curve, at) {
        const last = Math.min(at, curve.mean.train_loss.length - 1);
        const made = measure.columns.slice(0, validated ? 2 : 1).map((column, i) => {
            const value = curve.mean[column][last];
            return element('span', strokes[i], names[i] + ' ' +
                (Number.isFinite(value) ? formats[measure.format](value) : '–'));
        });
        if (last < at)
            made.push(element('span', 'ended', 'at ' + formats.count(epochs[last])));
        return made;
    }

    function tell() {
        const at = Number(slider.value);
        epoch.value = formats.count(epochs[at]);
        slider.setAttribute('aria-valuetext', 'epoch ' + epoch.value);
        for (const { curve, values } of panels)
            values.replaceChildren(...texts(curve, at));
    }

    function moveCursor() {
        tell();
        for (const panel of panels)
            if (panel.inSight)
                Chart.getChart(panel.canvas).render();
    }

    function point(event) {
        const x = Chart.getChart(event.target).scales.x.getValueForPixel(event.offsetX);
        const distance = (i) => Math.abs(epochs[i] - x);
        const nearest = epochs.reduce((best, _, i) => distance(i) < distance(best) ? i : best, 0);
        if (nearest === Number(slider.value))
            return;
        slider.value = nearest;
        moveCursor();
    }

    const observer = new IntersectionObserver((entries) => {
        for (const entry of entries) {
            const panel = panels.find(({ canvas }) => canvas === entry.target);
            panel.inSight = entry.isIntersecting;
            panel.redraw();
        }
    }, { rootMargin: '200px' });
    for (const { canvas } of panels) {
        observer.observe(canvas);
        canvas.addEventListener('pointermove', point);
        canvas.addEventListener('pointerdown', point);
    }
    addEventListener('beforeprint', () => {
        observer.disconnect();
        for (const panel of panels) {
            panel.inSight = true;
            panel.redraw();
        }
    });

    slider.addEventListener('input', moveCursor);
    select.addEventListener('change', () => {
        measure = measures[select.value];
        extent = limits();
        for (const panel of panels)
            panel.redraw();
        tell();
    });
    const controls = element('div', 'controls', element('label', '', 'Show ', select),
        element('label', '', 'Epoch ', slider, epoch),
        element('span', 'first', 'training'));
    if (validated)
        controls.append(element('span', 'second', 'validation'));
    grid.before(controls);
    tell();
}());
