"""Pairs of a gold answer and a boxed one from a fourth reading of public bug reports, as in `grader_cases`."""

from __future__ import annotations

EQUAL = {
    "decimal comma": [
        ("1000.99", "1000,99"), ("2.74", "2,74"), ("0.111", "0,111"), ("2.5", "2{,}5"), ("-2.55", "-2,55"),
        (r"2.5\text{ km}", "2,5 km"), ("1234.56", "1.234,56"), ("2.00625", "2,00625 m"), (r"\frac54", "1,25"),
    ],
    "thousands in other ways": [
        ("1234567", "12,34,567"), ("100000", "1,00,000"), ("12345678", "1,23,45,678"),
    ],
    "percent in words": [
        (r"28\%", "28 pct"), (r"28\%", "28 percentage points"), ("0.28", "28 pct"), (r"50\%", r"\frac12"),
        (r"33\frac13\%", r"\frac13"),
    ],
    "remark in parentheses": [
        ("7", "7 (seven)"), ("12", "12 (cm)"), ("12", "12 (units)"), ("1/2", "1/2 (one half)"), ("7 (seven)", "7"),
    ],
    "sentence before a value": [
        ("5", r"\text{The minimum is }5"), ("34", "The largest $n$ is 34"), ("5", r"\text{There are }5"),
        (r"\frac12", r"\text{The probability is }\frac12"), ("(1,2)", "The vertex is (1,2)"), ("1,2", "both 1 and 2"),
        ("(1,2)", r"\text{the point }(1,2)"), ("B", "the correct option is B"),
    ],
    "for all": [
        ("f(x)=x", r"f(x) = x \text{ for all real } x"), ("f(x)=cx", r"f(x)=cx \text{ for any constant } c"),
        ("n^2", r"n^2 \text{ for all } n \ge 2"), ("x^2", "x^2 for all real x"),
        (r"2k\pi", r"2k\pi, k\in\mathbb{Z}"), (r"x=2k\pi", r"x=2k\pi,\ k\in\mathbb{Z}"),
        (r"2k\pi", r"2k\pi \ (k\in \mathbb Z)"), ("n", r"n, n\in\mathbb{N}"),
    ],
    "letter of a function": [
        ("f(n)=n+1", "f(x)=x+1"), ("f(x)=x^2", "f(t)=t^2"), (r"f(x)=x\sin x", r"f(n)=n\sin n"),
    ],
    "letters in two forms": [
        (r"\frac{1}{4\pi\varepsilon_0}", r"\frac{1}{4\pi\epsilon_0}"), (r"\varphi", r"\phi"), (r"v_{\max}", "v_{max}"),
        (r"v_{\text{max}}", "v_{max}"), (r"k_{\max}=5", "5"), ("5", r"n_{\min}=5"),
    ],
    "primes": [
        ("f'(x)=2x", "2x"), ("2x", "y'=2x"), (r"\frac{dy}{dx}=2x", "2x"), (r"\frac{dy}{dx}=2x", "y'=2x"), ("f'", "f'"),
    ],
    "estimates": [
        ("7.78", r"\frac{70}{9} \approx 7.78"), (r"\frac{70}{9}", r"\frac{70}{9} \approx 7.78"),
        ("8", r"7.6 \approx 8"), ("3.14", r"3.14159 \approx 3.14"),
    ],
    "all but some points": [
        (r"(-\infty,-4)\cup(-4,\infty)", r"\text{all real numbers except } -4"),
        (r"\mathbb{R}\setminus\{0,1\}", r"x\ne0,1"),
        (r"(-\infty,0)\cup(0,1)\cup(1,\infty)", r"x\ne0\text{ and }x\ne1"),
        (r"(-\infty,0)\cup(0,1)\cup(1,\infty)", r"\text{all reals except }0\text{ and }1"),
        (r"(-\infty,1)\cup(1,\infty)", r"\mathbb{R}-\{1\}"), (r"(-\infty,1)\cup(1,\infty)", r"x\in\mathbb{R}, x\ne1"),
        (r"(-1,0)\cup(0,1)", r"-1<x<1, x\ne0"), ("x != 3", r"x \neq 3"), ("-1<a<1", "|a|<1"), ("[-1,1]", r"|x|\le 1"),
        (r"(-\infty,\infty)", r"\mathbb R"), ("[0,1]", "[0;1]"), ("-2<x<2", "|x|<2"),
    ],
    "points and rows": [
        ("(1,2)", "P(1,2)"), ("(1,2)", "(1,2)^T"), ("(1,2)", r"\{(1,2)\}"), (r"\{(1,2)\}", "(1,2)"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)^T"), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,2],[3,4]]"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{smallmatrix}1\\2\end{smallmatrix}"), ("1,2", r"1 \& 2"),
    ],
    "roots and logarithms in other forms": [
        (r"\sqrt{13}", "√13"), (r"\sqrt{13}", r"\sqrt13"), (r"2\sqrt{15}", "2√15"), (r"\sqrt[3]{-8}", "-2"),
        (r"-\sqrt[3]{2}", r"\sqrt[3]{-2}"), (r"\log_{2}(3)", "log2(3)"), (r"\ln(3)", "ln 3"), ("-i", r"\frac1i"),
        (r"\arcsin\frac12", r"\frac\pi6"), (r"\max(a,b)", r"\max\{a,b\}"),
    ],
    "degrees and radians": [
        (r"135^\circ", r"\frac{3\pi}{4}"), (r"\frac{3\pi}{4}", r"135^\circ"),
        (r"90^\circ", r"\frac{\pi}{2}\text{ radians}"),
        (r"\pi", r"180^\circ"), (r"-45^\circ", r"-\frac{\pi}{4}"), (r"\frac\pi4", r"45^\circ"), ("90º", "90"),
    ],
    "money of one kind": [
        ("5 euros", "€5"), (r"\$5", r"US\$5"), ("¥500", "500 yen"), ("1250", "€1250"), ("12", "12dollars"),
    ],
    "words of other languages": [
        ("5", "5个"), ("5", "5 元"), ("5", "5千米"), ("5", "5명"), ("5", "5 años"), ("5", "5 Bücher"), ("5", "5分钟"),
        ("42", "“42”"), ("3:4", "3∶4"),
    ],
    "measures in other words": [
        ("12", "12 years old"), ("12 years", "12 years old"), ("12", "12 kmph"), ("12", "12 units squared"),
        ("12", "12 degrees Celsius"), (r"12^\circ C", "12 degrees Celsius"), (r"12\text{ m}^2", "12 meters squared"),
        ("12", "12 in total"), ("12", "12 ordered pairs"), ("12", "12 positive integers"),
    ],
    "numbers in more words": [
        ("2.5", "two and a half"), ("2.5", "2 and a half"), ("2.5", r"2\text{ and }\frac12"), ("0.5", "half"),
        ("100", "a hundred"), ("-3", "minus 3"), ("-3", "negative 3"), (r"2,\frac12", "2 and 1/2"), ("252", "C(10,5)"),
        ("252", "nCr(10,5)"),
    ],
    "times in other ways": [
        ("3:00", "3:00 PM"), ("15:00", "3:00 PM"), ("noon", "12:00 PM"), ("midnight", "12:00 AM"),
        ("2:30 PM", "2.30 pm"),
    ],
    "no solution": [
        (r"\text{no solution}", "none"), (r"\text{no solution}", r"\text{No solutions exist}"),
        (r"\text{no real solutions}", r"\text{no solution}"),
    ],
    "options with reasons": [
        ("B", "B because A is wrong"), ("B", "B 12"), ("B", r"\text{B}\quad 12"), ("B", "B (12)"),
    ],
}  # fmt: skip

DIFFERENT = {
    "decimal comma": [
        ("1.234", "1,234"), ("1.55", "1,65"), ("1.2", "1,2"), ("12", "1,2"),
        ("1.2", "1,2,3"), ("1", "1,0"), ("0", "0,0"), ("15", "1,5"),
        ("1.22", "1, 22"),
    ],
    "thousands in other ways": [("1000", "10,00"), ("12", "12,34")],
    "percent in words": [(r"28\%", "29 pct"), (r"28\%", "280 pct")],
    "remark in parentheses": [("7", "7 (eight)"), ("12", "12 (not)"), ("12", "12 (or 13)"), ("12", "12 (wrong)")],
    "sentence before a value": [
        ("5", "The minimum is 5 and the maximum is 6"), ("5", r"\text{The minimum is }5\text{ and the maximum is }6"),
        ("5", "The value is not 5"), ("5", "This is at most 5"), ("5", "There are 6"),
    ],
    "another value in words": [
        ("5", r"5 \text{ for } n=3, 6 \text{ otherwise}"), ("5", r"5 \text{(min)}, 6 \text{(max)}"),
        ("5", r"5 \text{ is the minimum and 6 the maximum}"), ("x^2", r"x^2 \text{ for } x>0, -x^2 \text{ otherwise}"),
    ],
    "words that take a value back": [
        ("5", r"5\text{ (extraneous)}"), ("5", r"5\text{, but rejected}"), ("5", r"5 \text{ does not exist}"),
        ("5", r"5\text{ and no solution}"), ("5", r"5\text{ below zero}"), ("5", r"5\text{ (when } n \text{ is even)}"),
    ],
    "for all": [("x^2", r"x^3 \text{ for all } x"), (r"2k\pi", r"k\pi, k\in\mathbb{Z}"), ("f(x)=2x^3+c", "f(x)=2x^3")],
    "letter of a function": [
        ("f(x)=x^2+t", "f(t)=t^2+t"), ("f(x)=2x", "g(t)=2t"), ("f(x)=ax", "f(a)=a^2"), ("f(x)=2x", "f(t)=3t"),
    ],
    "letters in two forms": [(r"v_{\text{max}}", r"v_{\text{min}}"), (r"\theta", r"\phi"), (r"\Phi", r"\phi")],
    "primes": [("f'", "f"), ("f''(x)", "f'(x)"), ("A'", "A"), ("y'", "y"), ("f(x)=2x", "f'(x)=2x")],
    "estimates": [
        ("5", r"5 \approx 6"), ("6", r"5 \approx 6"), ("7.78", r"\frac{71}{9} \approx 7.79"),
        ("0", r"0.00012 \approx 0"),
    ],
    "all but some points": [
        (r"\mathbb{R}", r"\text{all real numbers except }0"),
        (r"\mathbb{R}\setminus\{0,1\}", r"\text{all reals except }0"),
        (r"x\ne0", r"x\ne0,1"), ("(-1,1)", r"-1<x<1,x\ne0"), ("[-1,1]", "|x|<1"), ("(-2,2)", "|x|<1"),
        ("1,2", "x>1,x<2"),
        (r"\mathbb{R}\setminus\{-4\}", r"x\ne 4"),
    ],
    "points and rows": [
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,3],[2,4]]"), ("(1,2)", "P(2,1)"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(2,1)^T"),
    ],
    "roots and logarithms in other forms": [
        ("3", "√13"), ("3", r"\sqrt13"), ("2", r"\sqrt[3]{-8}"), (r"\log_2 3", "log3(2)"),
    ],
    "degrees and radians": [
        ("120", r"\frac{2\pi}{3}"), (r"\frac{2\pi}{3}", "120"), (r"45^\circ", r"\frac{\pi}{3}"),
        (r"45^\circ", r"-\frac{\pi}{4}"),
    ],
    "money of one kind": [(r"\$5", "€5"), ("€5", r"\$5"), ("£5", r"\$5"), ("5 euros", "5 dollars")],
    "words of other languages": [
        ("5", "5万"), ("5", "5不对"), ("5", "5分之一"), ("5", "5 Millionen"), ("5", "5 mil"), ("5", "5 Dutzend"),
        ("5", "5倍"),
        ("5", "6个"),
    ],
    "measures in other words": [
        ("12", "13 years old"), ("12", "12 squared"), (r"12\text{ m}", r"12\text{ meters squared}"), ("5", "5M"),
        (r"12^\circ C", "12 degrees Fahrenheit"), ("2nm", "2"),
    ],
    "numbers in more words": [("2", "2 and 1/2"), ("2.5", "2 and 3/2"), ("2", "half"), ("12", "C(4,2)")],
    "times in other ways": [("15:00", "3:00 AM"), ("noon", "12:00 AM"), ("3:00", "4:00 PM")],
    "no solution": [("no solution", "infinitely many solutions"), (r"\text{none}", "0")],
    "options with reasons": [("B", "B or C because"), ("B", r"\text{Both A and B}")],
}  # fmt: skip
