/* Draws the curves of several runs from the numbers in #data; what a run is called is read from its
 * row in the table of figures. */
(function () {
    'use strict';

    const { data: runs, colour, line, lineChart, points } = page;
    const names = Array.from(document.querySelectorAll('table.figures tbody th'),
        (heading) => heading.textContent);

    /* Two of the page's own, then hues a golden angle apart. */
    function stroke(index) {
        if (index < 2)
            return colour(index ? 'second' : 'first');
        return 'hsl(' + Math.round(index * 137.5 % 360) + ' 65% ' + colour('lightness') + ')';
    }

    function draw(canvas) {
        const column = canvas.dataset.column;
        const lines = runs.map((table, i) => [table, i])
            .filter(([table]) => table[column].some((value) => value !== null))
            .map(([table, i]) => line(names[i], points(table, 'epoch', column), stroke(i)));
        return lineChart(canvas, lines, 'epoch', canvas.dataset.format, true);
    }

    page.keepDrawn(() => Array.from(document.querySelectorAll('canvas[data-column]'), draw));
}());
