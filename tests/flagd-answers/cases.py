"""Makes up rules and attributes: cases.py COUNT SEED."""
import random, json, sys
rnd = random.Random(int(sys.argv[2]))
OPS2 = ["==","===","!=","!==","<","<=",">",">=","in","%","contains_all","contains_any","contains_none","starts_with","ends_with"]
OPSN = ["+","-","*","/","max","min","cat","merge","and","or","if","?:","missing"]
OPS1 = ["!","!!","abs"]
LEAF = [None, True, False, 0, 1, 2, -1, 3.5, 10, "", "a", "b", "abc", "1", "10", "1.5", "x y", "1.2.3", "2.0.0-rc.1", "gold", "é"]
PATHS = ["tier","n","user.name","user.age","xs","xs.1","texts","texts.0","missing","user.missing","nul","flag","version","email","objs"]
def leaf():
    r = rnd.random()
    if r < .45: return {"var": rnd.choice(PATHS)}
    if r < .5: return {"var": [rnd.choice(PATHS), rnd.choice(LEAF)]}
    if r < .55: return [rnd.choice(LEAF) for _ in range(rnd.randint(0,3))]
    return rnd.choice(LEAF)
def expr(d):
    if d == 0 or rnd.random() < .2: return leaf()
    r = rnd.random()
    if r < .4: return {rnd.choice(OPS2): [expr(d-1), expr(d-1)]}
    if r < .65:
        op = rnd.choice(OPSN)
        if op == "missing": return {op: [rnd.choice(PATHS) for _ in range(rnd.randint(0,3))]}
        return {op: [expr(d-1) for _ in range(rnd.randint(1,4))]}
    if r < .73: return {rnd.choice(OPS1): [expr(d-1)]}
    if r < .76: return {rnd.choice(["<","<=",">",">="]): [expr(d-1) for _ in range(3)]}
    if r < .79: return {"sem_ver": [rnd.choice([{"var":"version"},"1.2.3","2.0.0-rc.1","v1","1.2",2]), rnd.choice(["=","!=","<","<=",">",">=","^","~","=="]), rnd.choice(["1.2.3","1.2","2.0.0","1","1.3.0-a.1",{"var":"version"}])]}
    if r < .83: return {"substr": [expr(d-1)] + [rnd.randint(-5,6) for _ in range(rnd.randint(1,2))]}
    if r < .86: return {"missing_some": [rnd.randint(0,3), [rnd.choice(PATHS) for _ in range(rnd.randint(1,3))]]}
    if r < .92:
        first = rnd.choice([[], [{"var":"email"}], [{"cat":[{"var":"$flagd.flagKey"},{"var":"user.name"}]}], [{"var":"missing"}], [expr(d-1)]])
        return {"fractional": first + [[rnd.choice(["red","green","blue",True,None,1,{"var":"tier"}])] + rnd.choice([[],[rnd.randint(0,100)],[rnd.randint(-10,3)],[{"var":"n"}]]) for _ in range(rnd.randint(1,4))]}
    it = rnd.choice([{"var":""},{"var":"k"},{"var":"v"}])
    body = rnd.choice([{"==":[it, expr(0)]}, {">":[it, 1]}, {"in":[it,["a","p",1]]}, {"!!":[it]}, {"%":[it,2]}])
    lst = rnd.choice([{"var":"xs"},{"var":"texts"},{"var":"objs"},[1,2,3],{"var":"missing"},{"merge":[{"var":"xs"},5]}])
    k = rnd.random()
    if k < .7: return {rnd.choice(["map","filter","all","none","some"]): [lst, body]}
    return {"reduce": [rnd.choice([{"var":"xs"},[1,2,3],{"var":"objs"}]), {rnd.choice(["+","*","max"]): [rnd.choice([{"var":"current"},{"var":"current.v"}]), {"var":"accumulator"}]}, rnd.choice([0,1,"2"])]}
def data():
    d = {"tier": rnd.choice(["gold","silver","a"]), "n": rnd.choice([0,1,7,2.5,-3,"12"]), "user": {"name": rnd.choice(["jack","jill","ten"]), "age": rnd.randint(1,90)},
     "xs": rnd.choice([[],[1,2,3],[0],[5,10]]), "texts": rnd.choice([["a","b"],[],["p"]]), "nul": None, "flag": rnd.choice([True,False]), "version": rnd.choice(["1.2.3","v2.0.0","nope","1.3.0-a.1"]),
     "email": rnd.choice(["a@b.c","x@y.z"]), "objs": rnd.choice([[],[{"k":"p","v":1},{"k":"q","v":2}]]), "$flagd": {"flagKey":"f","timestamp":0}}
    if rnd.random()<.7: d["targetingKey"]=rnd.choice(["u1","u2","u3","ten"])
    return d
for _ in range(int(sys.argv[1])):
    print(json.dumps({"rule": expr(3), "data": data()}, ensure_ascii=False))
