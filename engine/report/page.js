/* Draws a run's charts from the numbers in #data. All that it shows stands in the page already. */
(function () {
    'use strict';

    const { data, colour, line, lineChart, points } = page;

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

    function draw(canvas) {
        return lineChart(canvas, datasets(canvas), canvas.dataset.table, canvas.dataset.format);
    }

    function drawAll() {
        return Array.from(document.querySelectorAll('canvas[data-table]'), draw);
    }

    page.keepDrawn(drawAll);
}());
