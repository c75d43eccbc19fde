/* What the pages' scripts share: formats of numbers, charts that follow the colours, tables that
 * sort. */
const page = (function () {
    'use strict';

    const formats = {
        number: (value) => String(Number(value.toPrecision(4))),
        percent: (value) => (100 * value).toFixed(2) + '%',
        count: (value) => Math.round(value).toLocaleString('en'),
    };
    const ticks = {
        number: (value) => String(Number(value.toPrecision(6))),
        percent: (value) => Number((100 * value).toPrecision(4)) + '%',
        count: (value) => Number(value.toPrecision(6)).toLocaleString('en'),
    };

    function colour(name) {
        return getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
    }

    /* Chart.js puts a value that is alone into the middle of an axis: a share is none above 1. */
    function limit(scale, format) {
        if (format === ticks.percent)
            scale.max = Math.min(scale.max, 1);
    }

    function axis(format, more) {
        return {
            afterDataLimits: (scale) => limit(scale, format),
            border: { display: false },
            grid: { color: colour('line'), drawBorder: false, tickLength: 0 },
            ticks: Object.assign({
                color: colour('soft'),
                padding: 8,
                maxRotation: 0,
                autoSkipPadding: 20,
                maxTicksLimit: 7,
                callback: format,
            }, more),
        };
    }

    function key(row, index) {
        const cell = row.cells[index];
        if (cell.dataset.value !== undefined)
            return Number(cell.dataset.value);
        return cell.textContent;
    }

    /* Numbers before texts, missing values last whatever the direction. */
    function compare(a, b, direction) {
        if (typeof a === 'number' && typeof b === 'number')
            return direction * (a - b);
        if (typeof a !== typeof b)
            return typeof a === 'number' ? -1 : 1;
        return direction * a.localeCompare(b, undefined, { numeric: true });
    }

    function sort(table, heading) {
        const up = heading.getAttribute('aria-sort') === 'descending' ||
            (heading.cellIndex === 0 && heading.getAttribute('aria-sort') === 'none');
        for (const other of table.tHead.rows[0].cells)
            other.setAttribute('aria-sort', 'none');
        heading.setAttribute('aria-sort', up ? 'ascending' : 'descending');
        const rows = Array.from(table.tBodies[0].rows, (row) => [key(row, heading.cellIndex), row]);
        rows.sort((a, b) => compare(a[0], b[0], up ? 1 : -1));
        table.tBodies[0].append(...rows.map((pair) => pair[1]));
    }

    function makeSortable(table) {
        for (const heading of table.tHead.rows[0].cells) {
            const button = document.createElement('button');
            button.type = 'button';
            button.append(...heading.childNodes);
            button.addEventListener('click', () => sort(table, heading));
            heading.setAttribute('aria-sort', 'none');
            heading.append(button);
        }
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

    /* A line that never moves gets the middle of an axis from 0: Chart.js would go from -1 to 1. */
    function extent(lines) {
        const values = lines.flatMap((one) => one.data.map((point) => point.y))
            .filter((value) => !Number.isNaN(value));
        const level = values[0];
        return level > 0 && values.every((value) => value === level) ?
            { suggestedMin: 0, suggestedMax: 2 * level } : {};
    }

    /* Lines over epochs or steps, which `x` says; numbers are written as `format` says. A line with
     * `edge` is part of a band and has no name of its own. One line alone is named if `named`. */
    function lineChart(canvas, lines, x, format, named) {
        const at = lines.flatMap((one) => one.data.map((point) => point.x));
        const least = at.reduce((a, b) => Math.min(a, b), Infinity);
        const most = at.reduce((a, b) => Math.max(a, b), -Infinity);
        return new Chart(canvas, {
            type: 'line',
            data: { datasets: lines },
            options: {
                parsing: false,
                normalized: true,
                interaction: { mode: 'index', intersect: false, axis: 'x' },
                scales: {
                    x: Object.assign(axis(ticks.count, { precision: 0 }), { type: 'linear' },
                        most > least ? { min: least, max: most } : {}),
                    y: Object.assign(axis(ticks[format]), extent(lines)),
                },
                plugins: {
                    legend: {
                        display: named || lines.filter((one) => !one.edge).length > 1,
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
                            label: (item) => item.dataset.label + ' ' +
                                formats[format](item.parsed.y),
                        },
                    },
                },
            },
        });
    }

    /* A column of a table over another as points; what is null is a gap. */
    function points(table, x, y) {
        return table[x].map((at, i) => ({ x: at, y: table[y][i] === null ? NaN : table[y][i] }));
    }

    /* Draws now, and again whenever the colours change; `draw` gives the charts it made. Gives what
     * draws anew at other times. */
    function keepDrawn(draw) {
        Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
        Chart.defaults.font.size = 11;
        Chart.defaults.animation = false;
        Chart.defaults.maintainAspectRatio = false;
        let charts = draw();
        function redraw() {
            charts.forEach((chart) => chart.destroy());
            charts = draw();
        }
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
        return redraw;
    }

    document.querySelectorAll('table.sortable').forEach(makeSortable);
    const data = JSON.parse(document.getElementById('data').textContent);
    return { data, formats, ticks, colour, limit, axis, line, lineChart, points, keepDrawn };
}());
