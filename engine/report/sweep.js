/* Draws a sweep's chart from the numbers in #data. All that it shows stands in the page already;
 * what a point is called is read from its row in the table of combinations. */
(function () {
    'use strict';

    const { data, formats, ticks, colour, axis, line } = page;
    const points = data.points
        .map(([index, x, y, dx, dy, front]) => ({ index, x, y, dx, dy, front }));
    const table = document.querySelector('table.combinations');
    const headings = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent);
    const settings = new Map(Array.from(table.tBodies[0].rows, (row) => [
        Number(row.cells[0].dataset.value) - 1,
        Array.from(row.querySelectorAll('.setting'), (cell) =>
            ({ key: headings[cell.cellIndex], value: cell.textContent })),
    ]));
    const front = points.filter((point) => point.front).sort((a, b) => a.x - b.x);

    function segment(context, from, to) {
        context.beginPath();
        context.moveTo(...from);
        context.lineTo(...to);
        context.stroke();
    }

    /* --- intervals --- */

    const HEAD = { length: 6, half: 3 }; /* pixels of an arrow's */
    const ends = (value, half) => half === null ? [value, value] : [value - half, value + half];

    /* An axis that holds the points and, of their intervals, as much as leaves the points at least
     * half of it; `least` and `most` are what a value can be. The points' part begins at `origin`
     * at the latest. */
    function fit(values, halves, least, most, origin) {
        const min = values.reduce((a, b) => Math.min(a, b), origin);
        const max = values.reduce((a, b) => Math.max(a, b), -Infinity);
        const all = values.flatMap((value, i) => ends(value, halves[i]));
        const below = min - Math.max(least, all.reduce((a, b) => Math.min(a, b), min));
        const above = Math.min(most, all.reduce((a, b) => Math.max(a, b), max)) - max;
        /* The rest of the other half is for margins. Nothing is squeezed where all are equal. */
        const share = Math.min(1, 0.8 * (max - min) / (below + above) || 1);
        const low = min - share * below, high = max + share * above;
        const margin = 0.04 * (high - low || max || 1);
        return {
            min: Math.max(least, Math.min(low, min - margin)),
            max: Math.min(most, Math.max(high, max + margin)),
        };
    }

    /* From one value of a scale to another, at `across` on the other scale; an end that is beyond
     * the chart is an arrow. */
    function drawInterval(context, scale, across, values) {
        const place = (along, aside) => scale.isHorizontal() ? [along, across + aside] :
            [across + aside, along];
        const inside = values.map((value) => Math.min(Math.max(value, scale.min), scale.max));
        const at = inside.map((value) => scale.getPixelForValue(value));
        segment(context, place(at[0], 0), place(at[1], 0));
        for (const [i, tip] of at.entries()) {
            if (inside[i] === values[i])
                continue;
            const back = tip + HEAD.length * Math.sign(at[1 - i] - tip);
            context.beginPath();
            context.moveTo(...place(tip, 0));
            context.lineTo(...place(back, HEAD.half));
            context.lineTo(...place(back, -HEAD.half));
            context.fill();
        }
    }

    const intervals = {
        id: 'intervals',
        beforeDatasetsDraw({ ctx, scales: { x, y } }) {
            ctx.save();
            ctx.lineWidth = 1;
            ctx.strokeStyle = ctx.fillStyle = colour('faint');
            for (const point of points) {
                drawInterval(ctx, y, x.getPixelForValue(point.x), ends(point.y, point.dy));
                drawInterval(ctx, x, y.getPixelForValue(point.y), ends(point.x, point.dx));
            }
            ctx.restore();
        },
    };

    /* --- labels of the front's points --- */

    const LEADING = 13, RADIUS = 5, STEP = 12; /* pixels: of lines, of points, along the front */
    const distances = [8, 19, 32];
    const ways = [[1, 1], [-1, -1], [1, -1], [-1, 1], [1, 0], [-1, 0], [0, -1], [0, 1]];

    function setFont(context) {
        const { size, family } = Chart.defaults.font;
        context.font = size + 'px ' + family;
    }

    /* The values of a point's settings in lines that are not wider than `width`. */
    function wrap(context, values, width) {
        const fits = (text) => context.measureText(text).width <= width;
        const lines = [];
        for (let value of values) {
            while (value.length > 1 && !fits(value))
                value = [...value].slice(0, -2).join('') + '…';
            const longer = lines[lines.length - 1] + ' · ' + value;
            if (lines.length && fits(longer))
                lines[lines.length - 1] = longer;
            else
                lines.push(value);
        }
        return lines;
    }

    function around({ x, y }, width, height) {
        return { left: x - width / 2, right: x + width / 2, top: y - height / 2,
            bottom: y + height / 2 };
    }

    function meets(a) {
        return (b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    }

    function within(a, b) {
        return a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom;
    }

    /* Places along the front and intervals, which a label had better not lie on. */
    function findLines(at, { x, y }) {
        const places = [];
        for (const point of points) {
            const spread = (scale, value, half) => Math.abs(ends(value, half)
                .reduce((from, to) => scale.getPixelForValue(to) - scale.getPixelForValue(from)));
            places.push(around(at(point), spread(x, point.x, point.dx), 1),
                around(at(point), 1, spread(y, point.y, point.dy)));
        }
        for (let i = 1; i < front.length; i++) {
            const a = at(front[i - 1]), b = at(front[i]);
            const count = Math.ceil(Math.hypot(b.x - a.x, b.y - a.y) / STEP);
            for (let j = 0; j <= count; j++)
                places.push(around({ x: a.x + (b.x - a.x) * j / count,
                    y: a.y + (b.y - a.y) * j / count }, 1, 1));
        }
        return places;
    }

    /* A label beside its point, or further off, where it lies on few lines and next to no other
     * point; never on a point, on another label or beyond the chart: one without a place is left
     * out. The ends of the front come first. */
    function placeLabels(chart) {
        const { ctx, chartArea: area, scales } = chart;
        const at = (point) => ({ x: scales.x.getPixelForValue(point.x),
            y: scales.y.getPixelForValue(point.y) });
        const discs = points.map((point) => around(at(point), 2 * RADIUS, 2 * RADIUS));
        const taken = discs.slice();
        const crossed = findLines(at, scales);
        const placed = [];
        ctx.save();
        setFont(ctx);
        for (const point of [...front.slice(-1), ...front.slice(0, -1)]) {
            const values = settings.get(point.index).map((setting) => setting.value);
            const lines = wrap(ctx, values, (area.right - area.left) / 2);
            const width = 2 + Math.max(0, ...lines.map((text) => ctx.measureText(text).width));
            const height = LEADING * lines.length;
            const { x, y } = at(point);
            const others = discs.filter((_, i) => points[i] !== point);
            let best = null;
            for (const [further, distance] of distances.entries())
                for (const [right, down] of ways) {
                    const shift = right && down ? distance * Math.SQRT1_2 : distance;
                    const centre = { x: x + right * (shift + width / 2),
                        y: y + down * (shift + height / 2) };
                    const box = around(centre, width, height);
                    const vicinity = around(centre, width + 2 * RADIUS, height + 2 * RADIUS);
                    const cost = 2 * further + crossed.filter(meets(box)).length +
                        3 * others.filter(meets(vicinity)).length;
                    if (within(box, area) && !taken.some(meets(box)) && (!best || cost < best.cost))
                        best = { cost, box, lines, further, from: { x, y } };
                }
            if (best && lines.length) {
                taken.push(best.box);
                placed.push(best);
            }
        }
        ctx.restore();
        return placed;
    }

    const labels = {
        id: 'labels',
        afterUpdate(chart) {
            chart.labels = placeLabels(chart);
        },
        afterDatasetsDraw({ ctx, labels: placed }) {
            ctx.save();
            setFont(ctx);
            Object.assign(ctx, { textAlign: 'center', textBaseline: 'middle', lineJoin: 'round' });
            for (const { box, lines, further, from } of placed) {
                if (further) {
                    Object.assign(ctx, { lineWidth: 1, strokeStyle: colour('soft') });
                    segment(ctx, [from.x, from.y],
                        [Math.min(Math.max(from.x, box.left), box.right),
                            Math.min(Math.max(from.y, box.top), box.bottom)]);
                }
                Object.assign(ctx, { lineWidth: 3, strokeStyle: colour('ground'),
                    fillStyle: colour('ink') });
                for (const [i, text] of lines.entries()) {
                    const place = [(box.left + box.right) / 2, box.top + LEADING * (i + 0.5)];
                    ctx.strokeText(text, ...place);
                    ctx.fillText(text, ...place);
                }
            }
            ctx.restore();
        },
    };

    function draw(canvas) {
        const others = points.filter((point) => !point.front);
        const dots = { pointRadius: 4, pointHoverRadius: 6, clip: 6 };
        const inner = { includeBounds: false }; /* round numbers alone */
        return new Chart(canvas, {
            type: 'scatter',
            data: {
                datasets: [
                    line('efficient front', front, colour('first'),
                        Object.assign({ showLine: true }, dots)),
                    line('others', others, colour('second'), dots),
                ],
            },
            options: {
                scales: {
                    x: Object.assign(axis(ticks.number, inner), fit(points.map(({ x }) => x),
                        points.map(({ dx }) => dx), 0, Infinity, 0)),
                    y: Object.assign(axis(ticks.percent, inner), fit(points.map(({ y }) => y),
                        points.map(({ dy }) => dy), 0, 1, Infinity)),
                },
                plugins: {
                    legend: {
                        align: 'end',
                        labels: { boxWidth: 8, boxHeight: 8, color: colour('soft') },
                    },
                    tooltip: {
                        animation: false,
                        callbacks: {
                            title: (items) => settings.get(items[0].raw.index)
                                .map(({ key, value }) => key + ' ' + value),
                            label: (item) => formats.percent(item.raw.y) + ', ' +
                                formats.number(item.raw.x) + ' ms a step',
                        },
                    },
                },
            },
            plugins: [intervals, labels],
        });
    }

    page.keepDrawn(() => points.length ? [draw(document.querySelector('canvas'))] : []);
}());
