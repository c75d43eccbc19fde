/* Draws the charts from the numbers in #data and makes tables sortable. All that it shows stands
 * in the page already. */
(function () {
    'use strict';

    const data = JSON.parse(document.getElementById('data').textContent);
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

    function axis(format, more) {
        return {
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
        Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
        Chart.defaults.font.size = 11;
        return Array.from(document.querySelectorAll('canvas[data-table]'), draw);
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

    document.querySelectorAll('table.sortable').forEach(makeSortable);
    let charts = drawAll();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
        charts.forEach((chart) => chart.destroy());
        charts = drawAll();
    });
}());
