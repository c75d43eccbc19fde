/* Draws a run's charts from the numbers in #data. All that it shows stands in the page already. */
(function () {
    'use strict';

    const { formats, ticks, colour, axis } = page;
    const data = JSON.parse(document.getElementById('data').textContent);
    function points(table, x, y) {
        return table[x].map((at, i) => ({ x: at, y: table[y][i] === null ? NaN : table[y][i] }));
    }

    function line(label, data, stroke, more) {
        return Object.assign({
            label: label,
            data: data,
            borderColor: stroke,
            backgroundColor: stroke,
            borderWidth: 1.5,
            pointRadius: data.length <= 40 ? 2 : 0,
            pointHoverRadius: 4,
            pointHitRadius: 8,
        }, more);
    }

    /* Where a point stands for several steps: invisible lines at their least and greatest, the
     * space between filled. */
    function band(table, x, column, stroke) {
        const edges = table[column + '_least'];
        if (!edges || edges.every((least, i) => least === table[column][i]))
            return [];
        const edge = { edge: true, borderWidth: 0, pointRadius: 0, pointHoverRadius: 0 };
        return [
            line(column + ', least', points(table, x, column + '_least'), stroke, edge),
            line(column + ', greatest', points(table, x, column + '_greatest'), stroke,
                Object.assign({ fill: '-1', backgroundColor: stroke + '33' }, edge)),
        ];
    }

    function datasets(canvas) {
        const x = canvas.dataset.table, table = data[x];
        const strokes = [colour('first'), colour('second')];
        return canvas.dataset.lines.split(' ').flatMap((item, i) => {
            const [column, label] = item.split(':');
            if (table[column].every((value) => value === null))
                return [];
            return [line(label, points(table, x, column), strokes[i])]
                .concat(band(table, x, column, strokes[i]));
        });
    }

    /* A line that never moves gets the middle of an axis from 0: Chart.js would go from -1 to 1. */
    function extent(lines) {
        const values = lines.flatMap((one) => one.data.map((point) => point.y))
            .filter((value) => !Number.isNaN(value));
        const level = values[0];
        return level > 0 && values.every((value) => value === level) ?
            { suggestedMin: 0, suggestedMax: 2 * level } : {};
    }

    function draw(canvas) {
        const x = canvas.dataset.table, at = data[x][x], lines = datasets(canvas);
        const range = at.length > 1 ? { min: at[0], max: at[at.length - 1] } : {};
        const format = formats[canvas.dataset.format];
        return new Chart(canvas, {
            type: 'line',
            data: { datasets: lines },
            options: {
                animation: false,
                parsing: false,
                normalized: true,
                responsive: true,
                maintainAspectRatio: false,
                interaction: { mode: 'index', intersect: false, axis: 'x' },
                scales: {
                    x: Object.assign(axis(ticks.count, { precision: 0 }), { type: 'linear' }, range),
                    y: Object.assign(axis(ticks[canvas.dataset.format]), extent(lines)),
                },
                plugins: {
                    legend: {
                        display: lines.filter((one) => !one.edge).length > 1,
                        align: 'end',
                        labels: {
                            boxWidth: 14,
                            boxHeight: 1,
                            color: colour('soft'),
                            filter: (item) => !lines[item.datasetIndex].edge,
                        },
                    },
                    tooltip: {
                        animation: false,
                        filter: (item) => !Number.isNaN(item.parsed.y),
                        callbacks: {
                            title: (items) => x + ' ' + formats.count(items[0].parsed.x),
                            label: (item) => item.dataset.label + ' ' + format(item.parsed.y),
                        },
                    },
                },
            },
        });
    }

    function drawAll() {
        return Array.from(document.querySelectorAll('canvas[data-table]'), draw);
    }

    page.keepDrawn(drawAll);
}());
